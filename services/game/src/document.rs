//! `game.bets`: one document a bet, inserted with its outcome before anybody hears of it.
//!
//! Keeps "a redelivery never spins again": everything that is ever published about a bet is built from this document
//! ([`crate::events`]), so the second time is the same bytes as the first.

use serde::{Deserialize, Serialize};
use store::bson::DateTime;
use telemetry::propagation::StoredTrace;

use crate::domain::life::{Applied, State};

/// The collection's name; the database is `game`.
pub const COLLECTION: &str = "bets";

/// One bet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BetDocument {
    /// The bet's id: the command's `ce_id`.
    #[serde(rename = "_id")]
    pub id: String,
    /// Whose bet it is.
    pub player_id: String,
    /// The request's hash: the same id with another hash has no effect.
    pub request_hash: String,
    /// The hash of the command to payment, as it was computed when the bet was decided: however payment's build reads that
    /// command, the same command has the same hash. Absent for what game refused, and in bets of older builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wager_hash: Option<String>,
    /// Which game.
    pub game: String,
    /// Where the bet stands.
    #[serde(with = "state_name")]
    pub state: State,
    /// The stake in minor units; once settled, what was applied.
    pub stake_minor: i64,
    /// The payout in minor units; once settled, what was applied.
    pub payout_minor: i64,
    /// The currency of both, as it was asked for.
    pub currency: String,
    /// What the reels showed; empty for what game refused.
    pub reels: Vec<String>,
    /// Which table the payout follows.
    pub pay_table_version: String,
    /// When the bet was decided: the time of everything published about the decision.
    pub decided_at: DateTime,
    /// When payment's answer was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime>,
    /// The balance after the bet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance_minor: Option<i64>,
    /// The contract's name for why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reject_reason: Option<String>,
    /// The operator's words for a void.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub void_reason: Option<String>,
    /// When the bet was voided: a settled bet keeps `ended_at`, so its first event can be repeated as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voided_at: Option<DateTime>,
    /// The stake that the void took back, where payment said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reversed_stake_minor: Option<i64>,
    /// The payout that the void took back, where payment said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reversed_payout_minor: Option<i64>,
    /// When the sweeper may next ask payment again; only while decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep_at: Option<DateTime>,
    /// How often the sweeper has asked.
    #[serde(default)]
    pub sweeps: i32,
    /// When the sweeper stopped asking without an answer; an answer still settles the bet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unanswered_at: Option<DateTime>,
    /// The trace of the command, for the sweeper's own transaction.
    pub trace: StoredTrace,
}

impl BetDocument {
    /// Whether payment had applied this bet, as far as game was told (a settled bet that was voided later stays one that was
    /// settled).
    #[must_use]
    pub fn was_settled(&self) -> bool {
        self.balance_minor.is_some() && self.reject_reason.is_none()
    }

    /// What game knows about whether the money of this bet ever moved.
    #[must_use]
    pub fn applied(&self) -> Applied {
        if self.was_settled() {
            Applied::Told
        } else if self.reversed_stake_minor.is_some() {
            Applied::Unheard
        } else {
            Applied::Never
        }
    }

    /// The stake and payout that the void of this bet takes out of whatever is derived from game's events: as payment said,
    /// else what had been applied. `None` when nobody was told that the bet was settled: nobody has counted it.
    #[must_use]
    pub fn reversed(&self) -> Option<(i64, i64)> {
        let said = self.reversed_stake_minor.zip(self.reversed_payout_minor);
        self.was_settled().then(|| said.unwrap_or((self.stake_minor, self.payout_minor)))
    }
}

mod state_name {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::domain::life::State;

    pub(super) fn serialize<S: Serializer>(state: &State, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(state.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<State, D::Error> {
        let name = String::deserialize(deserializer)?;
        State::parse(&name).ok_or_else(|| D::Error::custom("a bet's state is none of the known ones"))
    }
}
