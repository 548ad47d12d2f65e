//! Reversal of a wager. It is never rejected.

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::proto::payments::v1::VoidWager;

use super::{execute, id};
use crate::ledger::{Ledger, Request};

#[derive(Debug)]
pub(super) struct OnVoidWager(pub(super) Ledger);

#[async_trait]
impl Handle<VoidWager> for OnVoidWager {
    async fn handle(&self, command: &VoidWager, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let request = Request::VoidWager {
            wager_id: id("wagerId", &command.wager_id)?,
            reason: command.reason.clone(),
        };
        execute(&self.0, delivery, request).await
    }
}
