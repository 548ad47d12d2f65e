//! Players that bet and deposit, and checks of their books.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use pitboss::player::{BetResult, Player};
use serde_json::{Value, json};
use testkit::eventually;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use crate::platform::{CURRENCY, DEPOSIT_MINOR, Platform, operator_token};

const STAKE_MINOR: i64 = 100;
const TOP_UP_MINOR: i64 = 500;
/// One of this many operations is a deposit. The first one is a deposit, too.
const DEPOSIT_EVERY: usize = 10;
/// Shortest time between two operations of a player. It limits their number, because each is repeated twice in the end.
const PACE: Duration = Duration::from_millis(100);
/// Longer than a payment in progress stays with its holder after the holder has died.
const ANSWERED_WITHIN: Duration = Duration::from_secs(90);
/// Longer than the gateway makes any client wait.
const CALL_DEADLINE: Duration = Duration::from_secs(10);
/// Number of operations that one player repeats at a time.
const REPEATED_MAX: usize = 8;

/// Kind of operation.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// A bet of [`STAKE_MINOR`].
    Bet,
    /// A deposit through the card provider.
    Deposit { amount_minor: i64 },
}

/// One operation of a player, and its final answer.
#[derive(Debug)]
struct Done {
    kind: Kind,
    key: String,
    body: String,
}

/// A player with all operations.
pub(super) struct Played {
    player: Player,
    done: Vec<Done>,
}

/// Deposits and bets until `stop` is set. Each operation is retried with its key until it has a final answer.
pub(super) async fn play(platform: &'static Platform, player: Player, stop: Arc<AtomicBool>) -> Played {
    let mut done = Vec::new();
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !stop.load(Ordering::Relaxed) {
        let kind = match done.len() {
            0 => Kind::Deposit { amount_minor: DEPOSIT_MINOR },
            n if n.is_multiple_of(DEPOSIT_EVERY) => Kind::Deposit { amount_minor: TOP_UP_MINOR },
            _ => Kind::Bet,
        };
        let key = Uuid::new_v4().to_string();
        let body = kind.final_answer(platform, &player, &key).await;
        done.push(Done { kind, key, body });
        pace.tick().await;
    }
    Played { player, done }
}

impl Kind {
    async fn final_answer(self, platform: &Platform, player: &Player, key: &str) -> String {
        eventually(&format!("a final answer to {self:?}"), ANSWERED_WITHIN, || async {
            let (status, body) = self.request(platform, player, key).await?;
            let may_retry = status == 202 || status == 429 || status >= 500;
            assert!(status == 200 || may_retry, "{self:?}: {status}: {body}");
            (status == 200).then_some(body)
        })
        .await
    }

    /// Status and body, or `None` if there was no answer.
    async fn request(self, platform: &Platform, player: &Player, key: &str) -> Option<(u16, String)> {
        match self {
            Self::Bet => {
                let answer = platform.gateway.bet(player, STAKE_MINOR, CURRENCY, key).await.ok()?;
                Some((answer.status.as_u16(), answer.body))
            }
            Self::Deposit { amount_minor } => {
                let url = format!("{}/api/v1/payments/deposits", platform.gateway_url);
                let request = platform.http.post(url).bearer_auth(&player.token).timeout(CALL_DEADLINE);
                let request =
                    request.header("x-operator-token", operator_token()).header("idempotency-key", key);
                let body = json!({ "amount_minor": amount_minor, "currency": CURRENCY });
                let answer = request.json(&body).send().await.ok()?;
                Some((answer.status().as_u16(), answer.text().await.ok()?))
            }
        }
    }
}

impl Done {
    /// Effect on the balance.
    fn effect_minor(&self) -> i64 {
        match self.kind {
            Kind::Bet => {
                let result: BetResult = serde_json::from_str(&self.body).expect("a bet");
                if result.outcome == "rejected" { 0 } else { result.payout_minor - STAKE_MINOR }
            }
            Kind::Deposit { amount_minor } => {
                assert_eq!(self.deposit()["amount_minor"], amount_minor, "{}", self.body);
                amount_minor
            }
        }
    }

    /// Body of a deposit. The provider declines none of these.
    fn deposit(&self) -> Value {
        let body: Value = serde_json::from_str(&self.body).expect("a deposit");
        assert_eq!(body["outcome"], "completed", "{body}");
        body
    }
}

impl Played {
    pub(super) fn count(&self, kind: impl Fn(&Kind) -> bool) -> usize {
        self.done.iter().filter(|done| kind(&done.kind)).count()
    }

    /// Amounts that were credited to this player, by payment.
    pub(super) fn credited(&self) -> Vec<(String, i64)> {
        let deposits = self.done.iter().filter(|done| matches!(done.kind, Kind::Deposit { .. }));
        let id = |done: &Done| done.deposit()["payment_id"].as_str().expect("a payment").to_owned();
        deposits.map(|done| (id(done), done.effect_minor())).collect()
    }

    /// Repeats every operation, which must return the same body. The balance must be the sum of the effects, once each.
    pub(super) async fn check_books(&self, platform: &Platform) {
        let Self { player, done } = self;
        let mut again = stream::iter(done)
            .map(|done| async move { (done, done.kind.final_answer(platform, player, &done.key).await) })
            .buffer_unordered(REPEATED_MAX);
        while let Some((done, body)) = again.next().await {
            assert_eq!(body, done.body, "the same key, another body: {:?}", done.kind);
        }
        let expected: i64 = done.iter().map(Done::effect_minor).sum();
        let balance = platform.gateway.balance(player, CURRENCY).await.expect("a balance");
        assert_eq!(balance, expected, "player {} after {} operations", player.player_id, done.len());
    }
}
