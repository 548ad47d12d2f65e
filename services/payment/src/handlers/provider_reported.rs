//! Settles a payment, which is the second decision about it. Each payment is settled at most once.

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::proto::payments::v1::{ProviderOutcome, ProviderReported};
use contracts::required_money;

use super::{execute, id};
use crate::ledger::{Ledger, Request};
use crate::provider::intent::Contradiction;

#[derive(Debug)]
pub(super) struct OnProviderReported(pub(super) Ledger);

#[async_trait]
impl Handle<ProviderReported> for OnProviderReported {
    async fn handle(&self, command: &ProviderReported, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let payment_id = id("paymentId", &command.payment_id)?;
        let captured = command.outcome() == ProviderOutcome::Captured;
        let request = Request::Report {
            payment_id: payment_id.clone(),
            captured,
            amount: required_money("amount", command.amount.as_ref())?,
            provider_reference: command.provider_reference.clone(),
        };
        let outcome = execute(&self.0, delivery, request).await?;
        if outcome == Outcome::Rejected {
            let settled = self.0.settlement(&payment_id).await?;
            // The same outcome with other details is harmless. With another outcome, money is where the ledger does not see it.
            if settled.is_none_or(|entry| entry.captured() != Some(captured)) {
                Contradiction::of(captured).report(payment_id.as_str());
            }
        }
        Ok(outcome)
    }
}
