//! Withdrawals to the player. This handler sets the money aside, the provider pool pays it out, and `ProviderReported` settles
//! the payment.

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::proto::payments::v1::Withdraw;

use super::{amount, carry, content};
use crate::domain::{PaymentKind, PendingPayment};
use crate::ledger::{Ledger, Request};

#[derive(Debug)]
pub(super) struct WithdrawHandler(pub(super) Ledger);

#[async_trait]
impl Handle for WithdrawHandler {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let command: Withdraw = content(delivery)?;
        let amount = amount("amount", command.amount.as_ref())?;
        let request = Request::Payment(PendingPayment { kind: PaymentKind::Withdrawal, amount });
        carry(&self.0, delivery, request).await
    }
}
