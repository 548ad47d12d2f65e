//! Limits of a player, in force at the latest when `RestrictionsApplied` is published.

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::proto::players::v1::LimitsChanged;

use super::{carry, content};
use crate::domain::LimitSet;
use crate::ledger::{Ledger, Request};

#[derive(Debug)]
pub(super) struct LimitsChangedHandler(pub(super) Ledger);

#[async_trait]
impl Handle for LimitsChangedHandler {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let command: LimitsChanged = content(delivery)?;
        let limit = |name, amount: Option<&_>| amount.map(|_| super::amount(name, amount)).transpose();
        let request = Request::Limits(LimitSet {
            max_stake: limit("maxStake", command.max_stake.as_ref())?,
            daily_loss: limit("dailyLoss", command.daily_loss.as_ref())?,
        });
        carry(&self.0, delivery, request).await
    }
}
