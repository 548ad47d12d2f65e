//! `DepositFailed`: money was not paid in.

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::proto::payments::v1::DepositFailed;

use crate::domain::Entry;
use crate::history::History;

/// Records it in the history.
pub(super) struct Handler(pub(super) History);

#[async_trait]
impl Handle for Handler {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        super::record::<DepositFailed>(&self.0, delivery, Entry::deposit_failed).await
    }
}
