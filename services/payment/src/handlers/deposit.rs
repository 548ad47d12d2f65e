//! Deposits from the card. This handler decides the request, the provider pool sends it, and `ProviderReported` settles it.

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::proto::payments::v1::Deposit;

use super::{amount, carry, content};
use crate::domain::{PaymentKind, PendingPayment};
use crate::ledger::{Ledger, Request};

#[derive(Debug)]
pub(super) struct DepositHandler(pub(super) Ledger);

#[async_trait]
impl Handle for DepositHandler {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let command: Deposit = content(delivery)?;
        let amount = amount("amount", command.amount.as_ref())?;
        let request = Request::Payment(PendingPayment { kind: PaymentKind::Deposit, amount });
        carry(&self.0, delivery, request).await
    }
}
