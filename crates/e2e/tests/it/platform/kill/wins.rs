//! Big wins while notification is killed: one e-mail for each, and at most one more for each kill on the e-mail's path.

use std::collections::HashMap;
use std::time::Duration;

use contracts::parts::Part;
use pitboss::player::Player;
use serde_json::json;
use testkit::eventually;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::platform::console::{WITH_KEYS, produce};
use crate::platform::{CURRENCY, Platform, internal, url_of};

const TOPIC: &str = "casino.bets.events.v1";
/// Enough wins that notification is still processing them when it is killed after the first e-mail.
const WINS: usize = 400;
const STAKE_MINOR: u32 = 100;
/// Twenty stakes are a big win.
const PAYOUT_MINOR: u32 = 20 * STAKE_MINOR;
/// Time for a JVM to start and send.
const BEGINS_WITHIN: Duration = Duration::from_secs(60);
/// A new process takes over a dead one's claim after 15 s. Then it sends all other e-mails.
const MAILED_WITHIN: Duration = Duration::from_secs(120);

/// Big wins of one player, whose e-mails are sent one after the other.
pub(super) struct Wins {
    player_id: String,
    event_ids: Vec<String>,
}

impl Wins {
    /// Creates wins of this player, who has not won yet.
    pub(super) fn of(player: &Player) -> Self {
        let event_ids = (0..WINS).map(|_| format!("win-{}", Uuid::new_v4().simple()));
        Self { player_id: player.player_id.clone(), event_ids: event_ids.collect() }
    }

    /// The events, one line each, after their key.
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

    /// Sends the wins, and returns when the first has its e-mail.
    pub(super) async fn begin(&self, platform: &Platform) -> JoinHandle<()> {
        let lines = self.lines();
        let sending = tokio::task::spawn_blocking(move || produce(TOPIC, &WITH_KEYS, &lines));
        eventually("the first e-mail of a big win", BEGINS_WITHIN, || async {
            (!self.mails(platform).await?.is_empty()).then_some(())
        })
        .await;
        sending
    }

    /// Checks that e-mails were left at the kill. Otherwise notification was killed when it had none in flight.
    pub(super) async fn expect_pending(&self, platform: &Platform) {
        let mailed = self.mails(platform).await.expect("the mailbox answers").len();
        assert!(mailed < WINS, "all {WINS} wins had their e-mail before the kill");
    }

    /// Number of e-mails for each of these wins, or `None` if the mailbox does not answer.
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

    /// Checks that every win has an e-mail. Each kill may add one, for the e-mail that was in flight.
    pub(super) async fn check(&self, platform: &Platform, kills: usize) {
        let mails = eventually("an e-mail for every big win", MAILED_WITHIN, || async {
            self.mails(platform).await.filter(|mails| mails.len() == WINS)
        })
        .await;
        let all: usize = mails.values().sum();
        assert!(all <= WINS + kills, "{all} e-mails for {WINS} wins and {kills} kills");
    }
}
