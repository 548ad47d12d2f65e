//! `BetVoided`: a bet was voided.

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::proto::bets::v1::BetVoided;

use crate::domain::Entry;
use crate::history::History;

/// Records it in the history.
pub(super) struct Handler(pub(super) History);

#[async_trait]
impl Handle for Handler {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        super::record::<BetVoided>(&self.0, delivery, Entry::voided).await
    }
}
