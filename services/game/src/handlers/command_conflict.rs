//! Handler of `CommandConflict`: payment already had a command with this id and other content.
//!
//! This happens only when another producer uses ids that belong to Pitboss. If that other command was applied, its `WagerApplied`
//! settled the bet earlier, because payment relays in order. A bet that is still undecided will never be applied, so it is voided
//! and does not stay open.

use std::sync::Arc;

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::proto::payments::v1::CommandConflict;
use contracts::{EventId, EventType, ids};

use super::context::Game;
use crate::bets::Ending;

/// Maximum number of a player's bets in flight to search. Bets beyond it are searched at the next conflict.
const UNDECIDED_MAX: u32 = 1_000;
/// Reason stored with the voided bet.
const VOID_REASON: &str = "another command had used the id of this wager";

/// Handles `CommandConflict`.
pub(super) struct OnCommandConflict(pub(super) Arc<Game>);

#[async_trait]
impl Handle<CommandConflict> for OnCommandConflict {
    async fn handle(&self, conflict: &CommandConflict, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        if conflict.command_type != EventType::ApplyWager.as_str() {
            return Ok(Outcome::Duplicate);
        }
        for id in self.0.bets.undecided_ids(&conflict.player_id, UNDECIDED_MAX).await? {
            let Ok(bet_id) = id.parse::<EventId>() else { continue };
            if ids::follower_id(&bet_id, EventType::ApplyWager).as_str() == conflict.command_id {
                let at = store::time::to_bson(delivery.event.time);
                let reason = VOID_REASON.to_owned();
                let ending = Ending::Voided { reason, is_applied: false, reversed: None, at };
                return self.0.end(&id, &conflict.player_id, ending).await;
            }
        }
        Ok(Outcome::Duplicate)
    }
}
