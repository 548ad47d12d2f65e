//! Deposits from the card. This handler decides the request, the provider pool sends it, and `ProviderReported` settles it.

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::proto::payments::v1::Deposit;
use contracts::required_money;

use super::execute;
use crate::domain::{PaymentKind, PendingPayment};
use crate::ledger::{Ledger, Request};

#[derive(Debug)]
pub(super) struct OnDeposit(pub(super) Ledger);

#[async_trait]
impl Handle<Deposit> for OnDeposit {
    async fn handle(&self, command: &Deposit, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let amount = required_money("amount", command.amount.as_ref())?;
        let request = Request::Payment(PendingPayment { kind: PaymentKind::Deposit, amount });
        execute(&self.0, delivery, request).await
    }
}
