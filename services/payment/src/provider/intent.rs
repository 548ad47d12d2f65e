//! One payment at the provider: what is stored of it, and who may say how it ended.
//!
//! ```text
//! requested ──the provider's word──► reported ──the ledger──► settled
//!     │   ▲                                                     ▲
//!     │   └── a report by hand, or its own word ── parked       │
//!     └──────── by hand, never asked ────────────► closed ──────┘
//! ```

use bson::DateTime;
use money::{Currency, Money};
use serde::{Deserialize, Serialize};
use telemetry::propagation::StoredTrace;

use crate::ledger::{Admission, Refusal, StoredKind};

/// One payment at the provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// The id of the command that asked for it.
    #[serde(rename = "_id")]
    pub payment_id: String,
    /// Whose.
    pub player_id: String,
    /// In or out.
    pub kind: StoredKind,
    /// How much.
    pub amount_minor: i64,
    /// Of what.
    pub currency: Currency,
    /// How far it is.
    pub state: State,
    /// Whether the money moved, once somebody who may say so has said it: it never changes again.
    #[serde(default)]
    pub captured: Option<bool>,
    /// The provider's own name for it.
    #[serde(default)]
    pub provider_reference: Option<String>,
    /// How often somebody took it in hand. Zero: the provider was never asked.
    pub attempts: i64,
    /// Whether the provider is asked to void the key instead of to move the money.
    #[serde(default)]
    pub void_wanted: bool,
    /// How often its report was published.
    #[serde(default)]
    pub reports: i64,
    /// Whether somebody was told that it does not end by itself.
    #[serde(default)]
    pub escalated: bool,
    /// Nobody takes it in hand before this moment.
    pub next_attempt_at: DateTime,
    /// When it was asked for.
    pub created_at: DateTime,
    /// The trace in which it was asked for.
    pub trace: StoredTrace,
}

/// How far a payment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The provider has to be asked, or was asked and has not told.
    Requested,
    /// It has told; its word is recorded here before it is published.
    Reported,
    /// It was settled by hand before anybody asked; nobody will.
    Closed,
    /// The ledger knows how it ended.
    Settled,
    /// Asked so often without an answer that somebody has to look: nobody asks by itself any more.
    Parked,
}

impl State {
    /// The name in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Reported => "reported",
            Self::Closed => "closed",
            Self::Settled => "settled",
            Self::Parked => "parked",
        }
    }
}

impl Intent {
    /// How much.
    #[must_use]
    pub fn amount(&self) -> Money {
        Money::new(self.amount_minor, self.currency)
    }

    /// What a report may do that says `captured`. `None`: it may close the intent, if nobody begins to ask meanwhile.
    pub(super) fn admission(&self, captured: bool) -> Option<Admission> {
        match self.captured {
            Some(word) if word == captured => Some(Admission::Admitted),
            Some(_) => Some(Admission::Refused(Refusal::OtherWord)),
            None if self.attempts == 0 && self.state == State::Requested => None,
            None if captured => Some(Admission::Refused(Refusal::Asked)),
            None => Some(Admission::Refused(Refusal::AskedToVoid)),
        }
    }
}

/// The provider, and the ledger or an operator, say two different things about one payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the provider says that a payment was {said}, and another end is recorded: compare it with the provider's statement"
)]
pub struct Contradiction {
    said: &'static str,
}

impl Contradiction {
    /// The provider says that the money moved, or that it did not.
    #[must_use]
    pub const fn of(captured: bool) -> Self {
        Self { said: if captured { "captured" } else { "declined" } }
    }

    /// Reports it: money is at the wrong place, and somebody must act.
    pub(crate) fn report(self, payment_id: &str) {
        telemetry::report(&self, &[("payment.id", payment_id)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(state: State, captured: Option<bool>, attempts: i64) -> Intent {
        Intent {
            payment_id: "d".to_owned(),
            player_id: "p".to_owned(),
            kind: StoredKind::Deposit,
            amount_minor: 100,
            currency: Currency::Eur,
            state,
            captured,
            provider_reference: None,
            attempts,
            void_wanted: false,
            reports: 0,
            escalated: false,
            next_attempt_at: DateTime::from_millis(0),
            created_at: DateTime::from_millis(0),
            trace: StoredTrace::default(),
        }
    }

    #[test]
    fn a_report_counts_on_the_recorded_word_or_before_any_question() {
        use Admission::{Admitted, Refused};
        use Refusal::{Asked, AskedToVoid, OtherWord};
        for (state, word, attempts, says_captured, says_declined) in [
            (State::Requested, None, 0, None, None),
            (State::Requested, None, 1, Some(Refused(Asked)), Some(Refused(AskedToVoid))),
            (State::Parked, None, 60, Some(Refused(Asked)), Some(Refused(AskedToVoid))),
            (State::Reported, Some(true), 1, Some(Admitted), Some(Refused(OtherWord))),
            (State::Reported, Some(false), 1, Some(Refused(OtherWord)), Some(Admitted)),
            (State::Closed, Some(false), 0, Some(Refused(OtherWord)), Some(Admitted)),
            (State::Settled, Some(true), 0, Some(Admitted), Some(Refused(OtherWord))),
        ] {
            let intent = intent(state, word, attempts);
            assert_eq!(intent.admission(true), says_captured, "{state:?} {word:?} {attempts}");
            assert_eq!(intent.admission(false), says_declined, "{state:?} {word:?} {attempts}");
        }
    }
}
