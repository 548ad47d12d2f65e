//! Sends the bets and measures their latencies.

use tokio::sync::mpsc;
use tokio::time::Instant;
use uuid::Uuid;

use super::load_report::{Kind, Outcome};
use super::open_loop::{OpenLoop, pass_on};
use super::plan::Plan;
use crate::player::{BetAnswer, Gateway, Player};

/// Maximum number of bets in flight. A bet that cannot be sent because of it is counted as [`Kind::NotSent`], not left out.
const IN_FLIGHT_MAX: usize = 4_096;

/// Sends the plan's bets. Every outcome goes to `outcomes`, which is closed when the last bet has ended.
pub async fn run(gateway: &Gateway, players: &[Player], plan: &Plan, outcomes: mpsc::Sender<Outcome>) {
    match plan.rate_per_s {
        Some(rate) => open_loop(gateway, players, plan, rate, &outcomes).await,
        None => closed_loop(gateway, players, plan, &outcomes).await,
    }
}

async fn open_loop(
    gateway: &Gateway,
    players: &[Player],
    plan: &Plan,
    rate: f64,
    outcomes: &mpsc::Sender<Outcome>,
) {
    let open_loop = OpenLoop { rate_per_s: rate, duration: plan.duration, in_flight_max: IN_FLIGHT_MAX };
    let bet = |player, intended| one_bet(gateway, player, plan, intended);
    let not_sent =
        |intended: Instant| Outcome { kind: Kind::NotSent, latency: intended.elapsed(), trace_id: None };
    open_loop.run(players.iter().cycle(), bet, not_sent, outcomes).await;
}

async fn closed_loop(gateway: &Gateway, players: &[Player], plan: &Plan, outcomes: &mpsc::Sender<Outcome>) {
    let until = Instant::now() + plan.duration;
    let each = players.iter().map(|player| async move {
        while Instant::now() < until {
            let outcome = one_bet(gateway, player, plan, Instant::now()).await;
            pass_on(outcomes, outcome).await;
        }
    });
    futures::future::join_all(each).await;
}

async fn one_bet(gateway: &Gateway, player: &Player, plan: &Plan, intended: Instant) -> Outcome {
    let key = Uuid::new_v4().to_string();
    let answer = gateway.bet(player, plan.stake_minor, &plan.currency, &key).await;
    let latency = intended.elapsed();
    match answer {
        Ok(answer) => Outcome { kind: kind_of(&answer), latency, trace_id: answer.trace_id },
        Err(error) => Outcome { kind: kind_of_failure(&error), latency, trace_id: None },
    }
}

fn kind_of(answer: &BetAnswer) -> Kind {
    match answer.status.as_u16() {
        200 => match answer.result() {
            Ok(result) if result.outcome == "rejected" => Kind::Rejected,
            Ok(_) => Kind::Settled,
            Err(_) => Kind::Malformed,
        },
        202 => Kind::NotInTime,
        503 if answer.is_overloaded() => Kind::Refused,
        status => Kind::Status(status),
    }
}

/// Kind of a request without an answer.
pub(crate) fn kind_of_failure(error: &anyhow::Error) -> Kind {
    match error.downcast_ref::<reqwest::Error>() {
        Some(error) if error.is_timeout() => Kind::Timeout,
        Some(error) if error.is_connect() => Kind::Connect,
        _ => Kind::Broken,
    }
}
