//! Fault `payment.random-failure`: a payment fails before its first request, so that nothing moves at the provider.

use faults::FaultId;

use super::{Answer, Intent, Pool, Recorded};
use crate::ledger::LedgerError;

/// Error report about a payment that the fault made fail. It is the same for every payment, so all of them are one issue.
#[derive(Debug, thiserror::Error)]
#[error("a payment failed before its request was sent to the card provider")]
struct FailedBeforeRequest;

impl Pool {
    /// Returns true when the fault makes this payment fail.
    ///
    /// Only the first claim can fail it. After that an earlier request may have moved the money, and only the provider knows.
    pub(super) fn fails_at_random(&self, intent: &Intent) -> bool {
        if intent.attempts != 1 || intent.void_wanted {
            return false;
        }
        let (player_id, payment_id) = (Some(intent.player_id.as_str()), Some(intent.payment_id.as_str()));
        chassis::faults::active(&self.faults, FaultId::PaymentRandomFailure, player_id, payment_id).is_some()
    }

    /// Records the payment as declined without a request, and reports that to the ledger. Always returns false, for a failed
    /// payment.
    ///
    /// The outcome counts only while no other pool has claimed the payment, because that pool sends a request. The ledger then
    /// ends the payment like one that the provider declined.
    pub(super) async fn fail(&self, intent: &Intent) -> Result<bool, LedgerError> {
        let declined = Answer::new(false, "");
        let recorded = self.intents.record(&intent.payment_id, &declined, Some(intent.attempts)).await?;
        if let Recorded::Answer(declined) = recorded {
            telemetry::report(&FailedBeforeRequest, &[("payment.id", &intent.payment_id)]);
            self.report(&declined).await?;
        }
        Ok(false)
    }
}
