//! Withdrawals to the player. This handler sets the money aside, the provider pool pays it out, and `ProviderReported` settles
//! the payment.

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::proto::payments::v1::Withdraw;
use contracts::required_money;

use super::execute;
use crate::domain::{PaymentKind, PendingPayment};
use crate::ledger::{Ledger, Request};

#[derive(Debug)]
pub(super) struct OnWithdraw(pub(super) Ledger);

#[async_trait]
impl Handle<Withdraw> for OnWithdraw {
    async fn handle(&self, command: &Withdraw, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let amount = required_money("amount", command.amount.as_ref())?;
        let request = Request::Payment(PendingPayment { kind: PaymentKind::Withdrawal, amount });
        execute(&self.0, delivery, request).await
    }
}
