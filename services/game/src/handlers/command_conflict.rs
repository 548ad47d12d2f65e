//! Handler of `CommandConflict`: payment already had a command with this id and other content.
//!
//! This happens only when another producer uses ids that belong to Pitboss. If that other command was applied, its `WagerApplied`
//! settled the bet earlier, because payment relays in order. A bet that is still undecided will never be applied, so it is voided
//! and does not stay open.

use std::sync::Arc;

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::{EventId, EventType, Message, ids};

use super::Game;
use crate::bets::Ending;
use crate::error::GameError;
use crate::events;

/// Maximum number of a player's bets in flight to search. Bets beyond it are searched at the next conflict.
const UNDECIDED_MAX: u32 = 1_000;
/// Reason stored with the voided bet.
const WORDS: &str = "another command had used the id of this wager";

/// Handles `CommandConflict`.
pub struct OnCommandConflict(pub Arc<Game>);

#[async_trait]
impl Handle for OnCommandConflict {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let Message::CommandConflict(conflict) = &delivery.event.message else {
            return Err(GameError::WrongType(delivery.event.message.event_type().as_str()).into());
        };
        if conflict.command_type != EventType::ApplyWager.as_str() {
            return Ok(Outcome::Duplicate);
        }
        for id in self.0.bets.undecided_of(&conflict.player_id, UNDECIDED_MAX).await? {
            let Ok(bet_id) = id.parse::<EventId>() else { continue };
            if ids::follower_id(&bet_id, EventType::ApplyWager).as_str() == conflict.command_id {
                let at = events::stored(delivery.event.time);
                let ending = Ending::Voided { reason: WORDS.to_owned(), reversed: None, at };
                return self.0.end(&id, &conflict.player_id, ending).await;
            }
        }
        Ok(Outcome::Duplicate)
    }
}
