//! Handler of the hot path: stake and payout of one bet.

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::proto::payments::v1::ApplyWager;

use super::{amount, carry, content, id};
use crate::domain::Wager;
use crate::ledger::{Ledger, Request};

#[derive(Debug)]
pub(super) struct ApplyWagerHandler(pub(super) Ledger);

#[async_trait]
impl Handle for ApplyWagerHandler {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let command: ApplyWager = content(delivery)?;
        let request = Request::ApplyWager(Wager {
            wager_id: id("wagerId", &command.wager_id)?,
            stake: amount("stake", command.stake.as_ref())?,
            payout: amount("payout", command.payout.as_ref())?,
            game: command.game,
        });
        carry(&self.0, delivery, request).await
    }
}
