//! Handler of `PlayerRegistered`: stores the player's address and makes waiting notifications due.

use std::sync::Arc;

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::Message;

use super::Desk;
use crate::error::NotificationError;

/// Handles `PlayerRegistered`.
pub(crate) struct OnPlayerRegistered(pub(crate) Arc<Desk>);

#[async_trait]
impl Handle for OnPlayerRegistered {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let Message::PlayerRegistered(player) = &delivery.event.message else {
            return Err(NotificationError::WrongType(delivery.event.message.event_type().as_str()).into());
        };
        self.0.contacts.register(&player.player_id, &player.email, &player.display_name).await?;
        self.0.release(&player.player_id).await?;
        Ok(Outcome::Applied)
    }
}
