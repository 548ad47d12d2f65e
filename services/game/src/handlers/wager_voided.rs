//! `WagerVoided`: an operator took a wager back, or forbade it before it came.

use std::sync::Arc;

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::Message;

use super::Game;
use crate::bets::Ending;
use crate::error::GameError;
use crate::events;

/// Handles `WagerVoided`.
pub struct OnWagerVoided(pub Arc<Game>);

#[async_trait]
impl Handle for OnWagerVoided {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let Message::WagerVoided(voided) = &delivery.event.message else {
            return Err(GameError::WrongType(delivery.event.message.event_type().as_str()).into());
        };
        let ending =
            Ending::Voided { reason: voided.reason.clone(), at: events::stored(delivery.event.time) };
        self.0.end(&voided.wager_id, ending).await
    }
}
