//! Handler of `WagerRejected`: payment refused the wager, and no money moved.

use std::sync::Arc;

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::Message;

use super::Game;
use crate::bets::Ending;
use crate::error::GameError;
use crate::events;

/// Handles `WagerRejected`.
pub struct OnWagerRejected(pub Arc<Game>);

#[async_trait]
impl Handle for OnWagerRejected {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let Message::WagerRejected(rejected) = &delivery.event.message else {
            return Err(GameError::WrongType(delivery.event.message.event_type().as_str()).into());
        };
        let ending = Ending::Rejected {
            reason: rejected.reason().as_str_name().to_owned(),
            balance_minor: rejected.balance.as_ref().map(|balance| balance.minor),
            at: events::stored(delivery.event.time),
        };
        self.0.end(&rejected.wager_id, &rejected.player_id, ending).await
    }
}
