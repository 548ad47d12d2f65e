//! Opens an empty account for a new player. No client waits for it, so it is not a decision and publishes no event.

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::proto::players::v1::PlayerRegistered;
use money::Currency;

use super::{content, not_a_command};
use crate::ledger::Ledger;

#[derive(Debug)]
pub(super) struct PlayerRegisteredHandler(pub(super) Ledger);

#[async_trait]
impl Handle for PlayerRegisteredHandler {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let player: PlayerRegistered = content(delivery)?;
        let currency: Currency =
            player.currency.parse().map_err(|e| not_a_command(&format!("currency: {e}")))?;
        let opened = self.0.open(&player.player_id, currency).await?;
        Ok(if opened { Outcome::Applied } else { Outcome::Duplicate })
    }
}
