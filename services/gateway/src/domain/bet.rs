//! Bets in the public interface.

use contracts::proto::bets::v1::{BetRejected, BetSettled, BetVoided};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::Answer;

/// A bet to place.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BetRequest {
    /// The game: `slots`.
    #[schema(example = "slots", max_length = 32)]
    pub game: String,
    /// The stake in minor units (such as cents), more than zero.
    #[schema(example = 100, minimum = 1)]
    pub stake_minor: i64,
    /// The stake's currency: EUR, USD, GBP or SEK.
    #[schema(example = "EUR")]
    pub currency: String,
}

/// State of a bet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// Settled, with a payout.
    Won,
    /// Settled, without a payout.
    Lost,
    /// Rejected for the given `reason`. No money was moved.
    Rejected,
    /// Reversed, or forbidden before it was applied. No money was taken in the end.
    Voided,
    /// Not decided yet.
    #[default]
    Pending,
}

/// A bet and its outcome. A final result has the same bytes, until an operator voids the bet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub(crate) struct BetResult {
    /// The bet's id.
    pub bet_id: String,
    /// Its state.
    pub outcome: Outcome,
    /// The symbols on the reels, from left to right. Missing for a bet that was not played.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub reels: Vec<String>,
    /// The stake in minor units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stake_minor: Option<i64>,
    /// The payout in minor units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payout_minor: Option<i64>,
    /// The balance right after the bet, in minor units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance_minor: Option<i64>,
    /// The currency of all amounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// Reason for the rejection or void, such as `insufficient_funds`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A bet of the history, with the fields of [`BetResult`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct HistoryBet {
    #[serde(flatten)]
    bet: BetResult,
    /// The game.
    #[serde(skip_serializing_if = "Option::is_none")]
    game: Option<String>,
    /// Time of its outcome, in milliseconds since the epoch.
    at_epoch_ms: i64,
    /// The trace that contains its outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
}

/// A page of the history, latest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct HistoryPage {
    /// The bets.
    bets: Vec<HistoryBet>,
    /// Value of `before` for the next page, or null on the last one.
    #[schema(required)]
    next: Option<String>,
}

/// State of a bet as the game service (field `state`) and the user service (field `outcome`) return it.
#[derive(Clone, Debug, Deserialize)]
struct BetFields {
    bet_id: String,
    #[serde(alias = "outcome")]
    state: String,
    #[serde(default)]
    reels: Vec<String>,
    stake_minor: Option<i64>,
    payout_minor: Option<i64>,
    balance_minor: Option<i64>,
    currency: Option<String>,
    reason: Option<String>,
}

/// A bet as the game service returns it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct GameBet {
    #[serde(flatten)]
    fields: BetFields,
    pub(crate) player_id: String,
    pub(crate) request_hash: Option<String>,
}

/// A bet as the user service returns it.
#[derive(Clone, Debug, Deserialize)]
struct UserBet {
    #[serde(flatten)]
    fields: BetFields,
    game: Option<String>,
    at_epoch_ms: i64,
    trace_id: Option<String>,
}

/// A page of the history as the user service returns it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct UserPage {
    bets: Vec<UserBet>,
    next: Option<String>,
}

impl From<UserPage> for HistoryPage {
    fn from(page: UserPage) -> Self {
        let entry = |entry: UserBet| HistoryBet {
            bet: BetResult::from_fields(entry.fields),
            game: entry.game,
            at_epoch_ms: entry.at_epoch_ms,
            trace_id: entry.trace_id,
        };
        Self { bets: page.bets.into_iter().map(entry).collect(), next: page.next }
    }
}

impl BetResult {
    /// A bet that was accepted and is not decided.
    pub(crate) fn pending(bet_id: impl Into<String>) -> Self {
        Self { bet_id: bet_id.into(), ..Self::default() }
    }

    /// Converts the game service's record of a bet.
    pub(crate) fn from_game(bet: GameBet) -> Self {
        Self::from_fields(bet.fields)
    }

    fn from_fields(bet: BetFields) -> Self {
        let base = Self { stake_minor: bet.stake_minor, currency: bet.currency, ..Self::pending(bet.bet_id) };
        match bet.state.as_str() {
            "settled" => {
                let payout = bet.payout_minor.unwrap_or_default();
                Self {
                    outcome: settled_outcome(payout),
                    reels: bet.reels,
                    payout_minor: Some(payout),
                    balance_minor: bet.balance_minor,
                    ..base
                }
            }
            "rejected" => {
                Self { outcome: Outcome::Rejected, reason: Some(reason(bet.reason.as_deref())), ..base }
            }
            "voided" => {
                Self { outcome: Outcome::Voided, reason: Some(reason(bet.reason.as_deref())), ..base }
            }
            _ => Self::pending(base.bet_id),
        }
    }
}

/// Answer to a settled bet.
pub(crate) fn settled(event: &BetSettled) -> Answer {
    let payout_minor = event.payout.as_ref().map_or(0, |payout| payout.minor);
    Answer::result(&BetResult {
        outcome: settled_outcome(payout_minor),
        reels: event.reels.clone(),
        stake_minor: event.stake.as_ref().map(|stake| stake.minor),
        payout_minor: Some(payout_minor),
        balance_minor: event.balance_after.as_ref().map(|balance| balance.minor),
        currency: event.stake.as_ref().map(|stake| stake.currency.clone()),
        ..BetResult::pending(&event.bet_id)
    })
}

/// Answer to a rejected bet, which is a result and not an error.
pub(crate) fn rejected(event: &BetRejected) -> Answer {
    Answer::result(&BetResult {
        outcome: Outcome::Rejected,
        stake_minor: event.stake.as_ref().map(|stake| stake.minor),
        currency: event.stake.as_ref().map(|stake| stake.currency.clone()),
        reason: Some(reason(Some(event.reason().as_str_name()))),
        ..BetResult::pending(&event.bet_id)
    })
}

/// Answer to a voided bet.
pub(crate) fn voided(event: &BetVoided) -> Answer {
    Answer::result(&BetResult {
        outcome: Outcome::Voided,
        stake_minor: event.stake.as_ref().map(|stake| stake.minor),
        currency: event.stake.as_ref().map(|stake| stake.currency.clone()),
        reason: Some(reason(Some(&event.reason))),
        ..BetResult::pending(&event.bet_id)
    })
}

fn settled_outcome(payout_minor: i64) -> Outcome {
    if payout_minor > 0 { Outcome::Won } else { Outcome::Lost }
}

/// Normalises the name of a reason: `REJECT_REASON_SELF_EXCLUDED` and `SELF_EXCLUDED` both become `self_excluded`.
pub(crate) fn reason(name: Option<&str>) -> String {
    let name = name.unwrap_or("unknown").to_ascii_lowercase();
    let stripped = name.strip_prefix("reject_reason_").or_else(|| name.strip_prefix("failure_reason_"));
    stripped.unwrap_or(&name).to_owned()
}
