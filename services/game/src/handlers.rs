//! Event handlers, one file per event type.

mod armed_faults;
mod command_conflict;
mod context;
mod place_bet;
mod wager_applied;
mod wager_rejected;
mod wager_voided;

use std::sync::Arc;

use bus::Router;
use contracts::proto::bets::v1::PlaceBet;
use contracts::proto::payments::v1::{CommandConflict, WagerApplied, WagerRejected, WagerVoided};

use self::command_conflict::OnCommandConflict;
use self::place_bet::OnPlaceBet;
use self::wager_applied::OnWagerApplied;
use self::wager_rejected::OnWagerRejected;
use self::wager_voided::OnWagerVoided;

pub use self::context::Game;

/// Returns the router with the event types that game handles.
#[must_use]
pub fn router(game: &Arc<Game>) -> Router {
    Router::new()
        .on::<PlaceBet>(OnPlaceBet(Arc::clone(game)))
        .on::<WagerApplied>(OnWagerApplied(Arc::clone(game)))
        .on::<WagerRejected>(OnWagerRejected(Arc::clone(game)))
        .on::<WagerVoided>(OnWagerVoided(Arc::clone(game)))
        .on::<CommandConflict>(OnCommandConflict(Arc::clone(game)))
}
