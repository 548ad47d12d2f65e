//! Handler of `PlayerRegistered`: stores the player's address and makes waiting notifications due.

use std::sync::Arc;

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::proto::players::v1::PlayerRegistered;

use super::Context;

/// Handles `PlayerRegistered`.
pub(super) struct OnPlayerRegistered(pub(super) Arc<Context>);

#[async_trait]
impl Handle<PlayerRegistered> for OnPlayerRegistered {
    async fn handle(&self, player: &PlayerRegistered, _: &Delivery) -> Result<Outcome, HandlerError> {
        self.0.contacts.register(&player.player_id, &player.email, &player.display_name).await?;
        self.0.release(&player.player_id).await?;
        Ok(Outcome::Applied)
    }
}
