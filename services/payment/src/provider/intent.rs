//! Payment at the provider: its stored state, and the rules for settling it.
//!
//! ```text
//! requested ──answer of the provider───────► reported ──ledger──► settled
//!     └───────settled by hand, never sent───► closed ────ledger──────┘
//! requested or reported ──pool gives up──► parked ────ledger──────► settled
//! parked ──report by hand──► requested       parked ──answer of the provider──► reported
//! ```

use bson::DateTime;
use money::{Currency, Money};
use serde::{Deserialize, Serialize};
use telemetry::propagation::StoredTrace;

use crate::ledger::{Admission, Refusal, StoredKind};

/// Payment at the provider, as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// Id of the command that requested the payment.
    #[serde(rename = "_id")]
    pub payment_id: String,
    /// Id of the player.
    pub player_id: String,
    /// Direction of the payment.
    pub kind: StoredKind,
    /// Amount in minor units.
    pub amount_minor: i64,
    /// Currency of the amount.
    pub currency: Currency,
    /// Progress of the payment.
    pub state: State,
    /// Outcome: true when the money moved. The provider or an admitted report sets it, and it never changes again.
    #[serde(default)]
    pub captured: Option<bool>,
    /// The provider's reference for the payment.
    #[serde(default)]
    pub provider_reference: Option<String>,
    /// Number of claims by a pool. Zero means that no request was sent to the provider.
    pub attempts: i64,
    /// True when the provider is asked to void the key instead of moving the money.
    #[serde(default)]
    pub void_wanted: bool,
    /// Number of times that its report was published.
    #[serde(default)]
    pub reports: i64,
    /// True once it was reported that the payment does not end by itself.
    #[serde(default)]
    pub escalated: bool,
    /// Time before which no pool claims the payment, except for the first claim.
    pub next_attempt_at: DateTime,
    /// Time of the request.
    pub created_at: DateTime,
    /// Trace of the request.
    pub trace: StoredTrace,
}

/// Progress of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// A request must be sent to the provider, or was sent and is not answered.
    Requested,
    /// The provider has answered. The answer is recorded here before it is published.
    Reported,
    /// Settled by hand before the first request. No request will be sent.
    Closed,
    /// The ledger knows the outcome.
    Settled,
    /// The pool has given up. It sends no request before an operator acts.
    Parked,
}

impl State {
    /// Returns the name in documents.
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
    /// Returns the amount.
    #[must_use]
    pub fn amount(&self) -> Money {
        Money::new(self.amount_minor, self.currency)
    }

    /// Returns the admission of a report with this outcome. `None`: it may close the intent, unless a pool claims it first.
    pub(super) fn admission(&self, captured: bool) -> Option<Admission> {
        match self.captured {
            Some(recorded) if recorded == captured => Some(Admission::Admitted),
            Some(_) => Some(Admission::Refused(Refusal::OtherOutcome)),
            None if self.attempts == 0 && self.state == State::Requested => None,
            None if captured => Some(Admission::Refused(Refusal::SentToProvider)),
            None => Some(Admission::Refused(Refusal::VoidRequested)),
        }
    }
}

/// Contradiction between the provider and the ledger or an operator about one payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the provider reports that a payment was {outcome}, but another outcome is recorded: compare it with the provider's statement"
)]
pub struct Contradiction {
    outcome: &'static str,
}

impl Contradiction {
    /// Creates a contradiction in which the provider reports that the money moved, or that it did not.
    #[must_use]
    pub const fn of(captured: bool) -> Self {
        Self { outcome: if captured { "captured" } else { "declined" } }
    }

    /// Reports the contradiction. Money is in the wrong place, and an operator must act.
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
    fn recorded_outcome_or_no_request_admits_report() {
        use Admission::{Admitted, Refused};
        use Refusal::{OtherOutcome, SentToProvider, VoidRequested};
        for (state, recorded, attempts, for_captured, for_declined) in [
            (State::Requested, None, 0, None, None),
            (State::Requested, None, 1, Some(Refused(SentToProvider)), Some(Refused(VoidRequested))),
            (State::Parked, None, 60, Some(Refused(SentToProvider)), Some(Refused(VoidRequested))),
            (State::Reported, Some(true), 1, Some(Admitted), Some(Refused(OtherOutcome))),
            (State::Reported, Some(false), 1, Some(Refused(OtherOutcome)), Some(Admitted)),
            (State::Closed, Some(false), 0, Some(Refused(OtherOutcome)), Some(Admitted)),
            (State::Settled, Some(true), 0, Some(Admitted), Some(Refused(OtherOutcome))),
        ] {
            let intent = intent(state, recorded, attempts);
            assert_eq!(intent.admission(true), for_captured, "{state:?} {recorded:?} {attempts}");
            assert_eq!(intent.admission(false), for_declined, "{state:?} {recorded:?} {attempts}");
        }
    }
}
