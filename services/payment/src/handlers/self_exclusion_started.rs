//! Self-exclusion of a player, in force at the latest when `RestrictionsApplied` is published.

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::proto::players::v1::SelfExclusionStarted;

use super::{carry, content};
use crate::ledger::{Ledger, Request};

#[derive(Debug)]
pub(super) struct SelfExclusionStartedHandler(pub(super) Ledger);

#[async_trait]
impl Handle for SelfExclusionStartedHandler {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let command: SelfExclusionStarted = content(delivery)?;
        let request = Request::SelfExclude { until_ms: command.until_epoch_ms };
        carry(&self.0, delivery, request).await
    }
}
