//! Handler of `WagerRejected`: payment refused the wager, and no money moved.

use std::sync::Arc;

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::proto::payments::v1::WagerRejected;

use super::context::Game;
use crate::bets::Ending;

/// Handles `WagerRejected`.
pub(super) struct OnWagerRejected(pub(super) Arc<Game>);

#[async_trait]
impl Handle<WagerRejected> for OnWagerRejected {
    async fn handle(&self, rejected: &WagerRejected, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let ending = Ending::Rejected {
            reason: rejected.reason().as_str_name().to_owned(),
            balance_minor: rejected.balance.as_ref().map(|balance| balance.minor),
            at: store::time::to_bson(delivery.event.time),
        };
        self.0.end(&rejected.wager_id, &rejected.player_id, ending).await
    }
}
