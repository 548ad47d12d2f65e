//! Handler of `WagerApplied`: settles the bet with the applied amounts. One update and one publish.
//!
//! The event's amounts are used even where they differ from the request, because payment has moved that money.

use std::sync::Arc;

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::Message;

use super::Game;
use crate::bets::Ending;
use crate::error::GameError;
use crate::events;

/// Handles `WagerApplied`.
pub struct OnWagerApplied(pub Arc<Game>);

#[async_trait]
impl Handle for OnWagerApplied {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let Message::WagerApplied(applied) = &delivery.event.message else {
            return Err(GameError::WrongType(delivery.event.message.event_type().as_str()).into());
        };
        let ending = Ending::Settled {
            stake_minor: applied.stake.as_ref().ok_or(GameError::Incomplete { field: "stake" })?.minor,
            payout_minor: applied.payout.as_ref().ok_or(GameError::Incomplete { field: "payout" })?.minor,
            balance_minor: applied
                .balance_after
                .as_ref()
                .ok_or(GameError::Incomplete { field: "balanceAfter" })?
                .minor,
            at: events::stored(delivery.event.time),
        };
        self.0.end(&applied.wager_id, &applied.player_id, ending).await
    }
}
