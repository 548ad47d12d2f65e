//! Self-exclusion of a player, in force at the latest when `RestrictionsApplied` is published.

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::proto::players::v1::SelfExclusionStarted;

use super::execute;
use crate::ledger::{Ledger, Request};

#[derive(Debug)]
pub(super) struct OnSelfExclusionStarted(pub(super) Ledger);

#[async_trait]
impl Handle<SelfExclusionStarted> for OnSelfExclusionStarted {
    async fn handle(
        &self,
        command: &SelfExclusionStarted,
        delivery: &Delivery,
    ) -> Result<Outcome, HandlerError> {
        let request = Request::SelfExclude { until_ms: command.until_epoch_ms };
        execute(&self.0, delivery, request).await
    }
}
