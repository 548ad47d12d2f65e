//! Collection `game.bets`: one document per bet, inserted with its outcome before anything is published.
//!
//! It guarantees that a redelivery never spins again: every event about a bet is built from this document (`events.rs`), so
//! a repeated event has the same bytes as the first.

use serde::{Deserialize, Serialize};
use store::bson::DateTime;
use telemetry::propagation::StoredTrace;

use crate::domain::lifecycle::{Settlement, State};

/// Name of the collection in the database `game`.
pub const COLLECTION: &str = "bets";

/// Stored state of one bet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BetDocument {
    /// Id of the bet, which is the command's `ce_id`.
    #[serde(rename = "_id")]
    pub id: String,
    /// Player who placed the bet.
    pub player_id: String,
    /// Hash of the request. The same id with another hash has no effect.
    pub request_hash: String,
    /// Hash of the command to payment, computed when the bet was decided, so that the same command has the same hash in every
    /// build. Absent for bets that game refused and for bets of older builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wager_hash: Option<String>,
    /// Name of the game.
    pub game: String,
    /// Current state.
    #[serde(with = "state_name")]
    pub state: State,
    /// Stake in minor units. Once settled, the applied stake.
    pub stake_minor: i64,
    /// Payout in minor units. Once settled, the applied payout.
    pub payout_minor: i64,
    /// Currency of both amounts, as requested.
    pub currency: String,
    /// Symbols on the reels. Empty for a bet that game refused.
    pub reels: Vec<String>,
    /// Version of the pay table that the payout follows.
    pub pay_table_version: String,
    /// Time of the decision. Events about the decision carry it.
    pub decided_at: DateTime,
    /// Time of payment's answer, or of the refusal by game.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime>,
    /// Balance after the bet, where payment reported it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance_minor: Option<i64>,
    /// Contract name of the reason for a rejection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reject_reason: Option<String>,
    /// Operator's reason for a void.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub void_reason: Option<String>,
    /// Time of the void. `ended_at` is kept, so `BetSettled` can be published again unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voided_at: Option<DateTime>,
    /// True if the void reversed an applied wager. Older builds stored only the amounts below.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub void_of_applied: bool,
    /// Stake that the void reversed, where payment reported it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reversed_stake_minor: Option<i64>,
    /// Payout that the void reversed, where payment reported it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reversed_payout_minor: Option<i64>,
    /// Earliest time at which the sweeper may repeat the command to payment. Set only while the bet is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep_at: Option<DateTime>,
    /// Number of times that the sweeper has repeated the command.
    #[serde(default)]
    pub sweeps: i32,
    /// Time at which the sweeper gave up. A late answer still settles the bet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unanswered_at: Option<DateTime>,
    /// Trace of the command, continued by the sweeper's transaction.
    pub trace: StoredTrace,
}

impl BetDocument {
    /// Returns true if payment reported this bet as applied, also if the bet was voided later.
    #[must_use]
    pub fn was_settled(&self) -> bool {
        self.balance_minor.is_some() && self.reject_reason.is_none()
    }

    /// Returns the source from which game knows that the money of this bet moved.
    #[must_use]
    pub fn settlement(&self) -> Settlement {
        if self.was_settled() {
            Settlement::Published
        } else if self.void_of_applied || self.reversed_stake_minor.is_some() {
            Settlement::ImpliedByVoid
        } else {
            Settlement::Never
        }
    }

    /// Returns the amounts that the void removes from derived figures: those that payment reported, or the applied ones. `None`
    /// if `BetSettled` was never published, because no consumer has counted the bet.
    #[must_use]
    pub fn reversed(&self) -> Option<(i64, i64)> {
        let reported = self.reversed_stake_minor.zip(self.reversed_payout_minor);
        self.was_settled().then(|| reported.unwrap_or((self.stake_minor, self.payout_minor)))
    }
}

mod state_name {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::domain::lifecycle::State;

    pub(super) fn serialize<S: Serializer>(state: &State, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(state.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<State, D::Error> {
        let name = String::deserialize(deserializer)?;
        State::parse(&name).ok_or_else(|| D::Error::custom("the state of the bet is unknown"))
    }
}
