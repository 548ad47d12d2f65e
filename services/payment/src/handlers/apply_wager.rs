//! Handler of the hot path: stake and payout of one bet.

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::proto::payments::v1::ApplyWager;
use contracts::required_money;

use super::{execute, id};
use crate::domain::Wager;
use crate::ledger::{Ledger, Request};

#[derive(Debug)]
pub(super) struct OnApplyWager(pub(super) Ledger);

#[async_trait]
impl Handle<ApplyWager> for OnApplyWager {
    async fn handle(&self, command: &ApplyWager, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let request = Request::ApplyWager(Wager {
            wager_id: id("wagerId", &command.wager_id)?,
            stake: required_money("stake", command.stake.as_ref())?,
            payout: required_money("payout", command.payout.as_ref())?,
            game: command.game.clone(),
        });
        execute(&self.0, delivery, request).await
    }
}
