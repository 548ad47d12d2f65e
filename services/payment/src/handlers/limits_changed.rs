//! Limits of a player. When `RestrictionsApplied` is published, the stricter ones are in force, and the time from which the looser
//! ones count is stored.

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::proto::players::v1::LimitsChanged;
use contracts::required_money;

use super::execute;
use crate::domain::LimitSet;
use crate::ledger::{Ledger, Request};

#[derive(Debug)]
pub(super) struct OnLimitsChanged {
    pub(super) ledger: Ledger,
    /// Wait of a looser limit.
    pub(super) loosen_after_ms: i64,
}

#[async_trait]
impl Handle<LimitsChanged> for OnLimitsChanged {
    async fn handle(&self, command: &LimitsChanged, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let limit = |name, amount: Option<&_>| amount.map(|_| required_money(name, amount)).transpose();
        let limits = LimitSet {
            max_stake: limit("maxStake", command.max_stake.as_ref())?,
            daily_loss: limit("dailyLoss", command.daily_loss.as_ref())?,
        };
        let request = Request::Limits { limits, loosen_after_ms: self.loosen_after_ms };
        execute(&self.ledger, delivery, request).await
    }
}
