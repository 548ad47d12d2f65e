//! Reversal of a wager. It is never rejected.

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::proto::payments::v1::VoidWager;

use super::{carry, content, id};
use crate::ledger::{Ledger, Request};

#[derive(Debug)]
pub(super) struct VoidWagerHandler(pub(super) Ledger);

#[async_trait]
impl Handle for VoidWagerHandler {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let command: VoidWager = content(delivery)?;
        let request =
            Request::VoidWager { wager_id: id("wagerId", &command.wager_id)?, reason: command.reason };
        carry(&self.0, delivery, request).await
    }
}
