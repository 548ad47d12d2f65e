//! Handler of `WagerVoided`: an operator reversed a wager, or forbade it before payment applied it. The reversed amounts are
//! stored. They are published if the bet had been published as settled.

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
        let reversed = voided.reversed_stake.as_ref().zip(voided.reversed_payout.as_ref());
        let ending = Ending::Voided {
            reason: voided.reason.clone(),
            reversed: reversed.map(|(stake, payout)| (stake.minor, payout.minor)),
            at: events::stored(delivery.event.time),
        };
        self.0.end(&voided.wager_id, &voided.player_id, ending).await
    }
}
