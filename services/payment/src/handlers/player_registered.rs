//! Opens an empty account for a new player. No client waits for it, so it is not a decision and publishes no event.

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::proto::players::v1::PlayerRegistered;
use money::Currency;

use super::invalid_command;
use crate::ledger::Ledger;

#[derive(Debug)]
pub(super) struct OnPlayerRegistered(pub(super) Ledger);

#[async_trait]
impl Handle<PlayerRegistered> for OnPlayerRegistered {
    async fn handle(&self, player: &PlayerRegistered, _: &Delivery) -> Result<Outcome, HandlerError> {
        let currency: Currency =
            player.currency.parse().map_err(|e| invalid_command(&format!("currency: {e}")))?;
        let opened = self.0.open(&player.player_id, currency).await?;
        Ok(if opened { Outcome::Applied } else { Outcome::Duplicate })
    }
}
