//! Limits of a player, in force at the latest when `RestrictionsApplied` is published.

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::proto::players::v1::LimitsChanged;
use contracts::required_money;

use super::execute;
use crate::domain::LimitSet;
use crate::ledger::{Ledger, Request};

#[derive(Debug)]
pub(super) struct OnLimitsChanged(pub(super) Ledger);

#[async_trait]
impl Handle<LimitsChanged> for OnLimitsChanged {
    async fn handle(&self, command: &LimitsChanged, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let limit = |name, amount: Option<&_>| amount.map(|_| required_money(name, amount)).transpose();
        let request = Request::Limits(LimitSet {
            max_stake: limit("maxStake", command.max_stake.as_ref())?,
            daily_loss: limit("dailyLoss", command.daily_loss.as_ref())?,
        });
        execute(&self.0, delivery, request).await
    }
}
