//! Big wins while notification is killed: a mail for each, and at most one more for each death on the mail's way.

use std::collections::HashMap;
use std::time::Duration;

use contracts::parts::Part;
use pitboss::player::Player;
use serde_json::json;
use testkit::eventually;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::platform::console::{KEYED, produce};
use crate::platform::{CURRENCY, Platform, internal, url_of};

const TOPIC: &str = "casino.bets.events.v1";
/// So many that notification is still at work on them when it is killed after the first mail.
const WINS: usize = 400;
const STAKE_MINOR: u32 = 100;
/// Twenty stakes are a big win.
const PAYOUT_MINOR: u32 = 20 * STAKE_MINOR;
/// A JVM starts and types.
const BEGINS_WITHIN: Duration = Duration::from_secs(60);
/// A new process takes over a dead one's claim after 15 s; then there are all the others.
const MAILED_WITHIN: Duration = Duration::from_secs(120);

/// Big wins of one player, whose mails are sent one after the other.
pub(super) struct Wins {
    player_id: String,
    event_ids: Vec<String>,
}

impl Wins {
    /// Wins of this player, who has not won yet.
    pub(super) fn of(player: &Player) -> Self {
        let event_ids = (0..WINS).map(|_| format!("win-{}", Uuid::new_v4().simple()));
        Self { player_id: player.player_id.clone(), event_ids: event_ids.collect() }
    }

    /// The facts, one line each, after their key.
    fn lines(&self) -> String {
        let money = |minor: u32| json!({ "minor": minor.to_string(), "currency": CURRENCY });
        let line = |event_id: &String| {
            let data = json!({
                "betId": format!("bet-{event_id}"), "playerId": self.player_id, "game": "slots",
                "stake": money(STAKE_MINOR), "payout": money(PAYOUT_MINOR), "balanceAfter": money(PAYOUT_MINOR),
            });
            let event = json!({ "type": "casino.bets.v1.BetSettled", "id": event_id, "data": data });
            format!("{}\t{event}\n", self.player_id)
        };
        self.event_ids.iter().map(line).collect()
    }

    /// Types them, and returns when the first has its mail.
    pub(super) async fn begin(&self, platform: &Platform) -> JoinHandle<()> {
        let lines = self.lines();
        let typing = tokio::task::spawn_blocking(move || produce(TOPIC, &KEYED, &lines));
        eventually("the first mail of a big win", BEGINS_WITHIN, || async {
            (!self.mails(platform).await?.is_empty()).then_some(())
        })
        .await;
        typing
    }

    /// Else notification was killed when it had nothing in hand.
    pub(super) async fn expect_more_to_come(&self, platform: &Platform) {
        let mailed = self.mails(platform).await.expect("the mail box answers").len();
        assert!(mailed < WINS, "all {WINS} wins were mailed before the kill");
    }

    /// How many mails each of these wins has had, if the mail box answers.
    async fn mails(&self, platform: &Platform) -> Option<HashMap<String, usize>> {
        let mut counts = HashMap::new();
        let mut since = 0;
        loop {
            let url = format!("{}/mail/v1/messages?since={since}", url_of(Part::Partners));
            let page = internal(platform, &url).await?;
            let mails = page["messages"].as_array()?;
            let Some(last) = mails.last() else { break };
            since = last["sequence"].as_u64()?;
            for mail in mails {
                // `<event's id>.<channel>@<domain>`
                let event_id = mail["message_id"].as_str().unwrap_or_default().split('.').next();
                *counts.entry(event_id.unwrap_or_default().to_owned()).or_default() += 1;
            }
        }
        counts.retain(|event_id, _| self.event_ids.contains(event_id));
        Some(counts)
    }

    /// A mail for every win; more only for what was in hand at a kill, one at a time.
    pub(super) async fn check(&self, platform: &Platform, kills: usize) {
        let mails = eventually("a mail for every big win", MAILED_WITHIN, || async {
            self.mails(platform).await.filter(|mails| mails.len() == WINS)
        })
        .await;
        let all: usize = mails.values().sum();
        assert!(all <= WINS + kills, "{all} mails for {WINS} wins and {kills} kills");
    }
}
