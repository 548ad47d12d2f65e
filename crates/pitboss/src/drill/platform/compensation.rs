//! Compensating entries for the bets that the audit found: voids on the topic of payment's commands, as an operator would publish
//! them.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bus::RawRecord;
use bus::disturb::Disturbance;
use contracts::EventType;
use contracts::parts::Part;
use contracts::topics::Topic;
use serde::Deserialize;
use serde_json::json;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::audit::{self, Finding, Report};
use crate::drill::stage::Compensated;
use crate::player::Player;
use crate::target::Target;
use crate::verify::Means;

/// Currency of the players of a drill.
const CURRENCY: &str = "EUR";
/// Longest wait until all bets are voided.
const VOIDED_MAX: Duration = Duration::from_secs(60);
/// Interval at which a bet is read.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Beginning of the audit's pointer to a bet.
const BET_POINTER: &str = "game.bets _id=";
/// Reason in the entry.
const REASON: &str = "the payout does not follow the pay table";

/// A bet, as game shows it to other services.
#[derive(Debug, Deserialize)]
struct Bet {
    bet_id: String,
    player_id: String,
    state: String,
}

/// Audits the records since a moment.
pub(super) async fn audited(target: &Target, since: OffsetDateTime) -> Result<Report> {
    let options = audit::Options { since: Some(since), ..audit::Options::default() };
    audit::run_with(&audit::Sources::of(target)?, &options).await
}

/// Voids every bet whose payout the audit found wrong, and waits until game shows all of them as voided. Then it audits the voids.
pub(super) async fn compensate(
    Means { gateway, target }: Means<'_>,
    players: &[&Player],
    since: OffsetDateTime,
) -> Result<Compensated> {
    let found = audited(target, since).await?;
    let mut bets = Vec::new();
    for bet_id in bet_ids(findings(&found, "payouts")) {
        bets.push(bet(target, bet_id).await?);
    }
    let is_owner = |player: &&&Player| bets.iter().any(|bet| bet.player_id == player.player_id);
    let owners: Vec<&Player> = players.iter().filter(is_owner).copied().collect();
    let (mut balance_before_minor, mut balance_after_minor) = (0, 0);
    for owner in &owners {
        balance_before_minor += gateway.balance(owner, CURRENCY).await?;
    }
    let bootstrap_servers = target.bootstrap_servers().context("the port of Kafka is not known")?;
    let records: Vec<RawRecord> = bets.iter().map(void).collect();
    let config = bus::Config { bootstrap_servers, ..bus::Config::default() };
    Disturbance::new(config).publish(&records).await?;
    let until = Instant::now() + VOIDED_MAX;
    for Bet { bet_id, .. } in &bets {
        while bet(target, bet_id).await?.state != "voided" {
            if Instant::now() >= until {
                bail!("bet {bet_id} is not voided after {} s", VOIDED_MAX.as_secs());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
    for owner in &owners {
        balance_after_minor += gateway.balance(owner, CURRENCY).await?;
    }
    let report = audited(target, since).await?;
    let voids = report.checks.iter().find(|check| check.name == "voids");
    Ok(Compensated {
        bets: bets.len(),
        balance_before_minor,
        balance_after_minor,
        voids_checked: voids.map_or(0, |check| check.checked),
        violations: voids.map_or(0, audit::Check::violations),
    })
}

fn findings<'r>(report: &'r Report, check: &str) -> &'r [Finding] {
    let found = report.checks.iter().find(|known| known.name == check);
    found.map(|check| check.findings.as_slice()).unwrap_or_default()
}

/// The bets that the findings point at.
fn bet_ids(findings: &[Finding]) -> Vec<&str> {
    let pointers = findings.iter().flat_map(|finding| &finding.pointers);
    pointers.filter_map(|pointer| pointer.strip_prefix(BET_POINTER)).collect()
}

async fn bet(target: &Target, bet_id: &str) -> Result<Bet> {
    let url = target.service_url(Part::Game).context("the port of game is not known")?;
    let request = target.http().get(format!("{url}/internal/v1/bets/{bet_id}"));
    let token = target.internal_token.iter();
    let request = token.fold(request, |request, token| request.header("x-internal-token", token));
    let answer = request.send().await?.error_for_status()?;
    answer.json().await.with_context(|| format!("game's answer about {bet_id} is not a bet"))
}

/// The record by which an operator voids a bet.
fn void(Bet { bet_id, player_id, .. }: &Bet) -> RawRecord {
    let data = json!({ "wagerId": bet_id, "playerId": player_id, "reason": REASON });
    let event = json!({ "type": EventType::VoidWager.as_str(), "data": data });
    RawRecord {
        topic: Topic::PaymentsCommands.name().to_owned(),
        key: Some(player_id.clone().into()),
        headers: Vec::new(),
        value: event.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use contracts::Event;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn found_bets_are_voided() {
        let (bet_id, player_id) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
        let pointers = vec![format!("{BET_POINTER}{bet_id}"), "payment.ledger _id=p/7".to_owned()];
        let findings = [Finding { what: String::new(), amounts: Vec::new(), pointers }];
        assert_eq!(bet_ids(&findings), [bet_id.as_str()]);
        let record = void(&Bet { bet_id, player_id, state: "settled".to_owned() });
        assert_eq!(Event::decode(&record.view()).unwrap().message.event_type(), EventType::VoidWager);
    }
}
