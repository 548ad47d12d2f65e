//! The second decision about a payment; it always lands, once.

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::proto::payments::v1::{ProviderOutcome, ProviderReported};

use super::{amount, carry, content, id};
use crate::ledger::{Ledger, Request};

/// Handles `ProviderReported`.
#[derive(Debug)]
pub(super) struct ProviderReportedHandler(pub(super) Ledger);

#[async_trait]
impl Handle for ProviderReportedHandler {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let command: ProviderReported = content(delivery)?;
        let payment_id = id("paymentId", &command.payment_id)?;
        let request = Request::Report {
            payment_id: payment_id.clone(),
            captured: command.outcome() == ProviderOutcome::Captured,
            amount: amount("amount", command.amount.as_ref())?,
            provider_reference: command.provider_reference,
        };
        let outcome = carry(&self.0, delivery, request).await?;
        if outcome == Outcome::Rejected {
            tracing::warn!(
                payment.id = %payment_id,
                "a settled payment was reported again with other words: nothing moved, compare it with the provider's statement",
            );
        }
        Ok(outcome)
    }
}
