//! Event handlers. Every counted event becomes a fact, and [`crate::domain::fact`] decides its kind, so one handler serves all
//! types.

mod fact;

use std::sync::{Arc, Mutex};

use bus::Router;
use contracts::EventType;
use faults::Faults;

use crate::domain::active::ActivePlayers;
use crate::facts::Facts;
use crate::rollups::Rollups;

/// Counted event types.
const COUNTED: [EventType; 8] = [
    EventType::BetSettled,
    EventType::BetRejected,
    EventType::BetVoided,
    EventType::DepositCompleted,
    EventType::DepositFailed,
    EventType::WithdrawalCompleted,
    EventType::WithdrawalFailed,
    EventType::PlayerRegistered,
];

/// Returns the router with the event types that analytics handles.
pub(crate) fn router(
    rollups: &Arc<Rollups>,
    active: &Arc<Mutex<ActivePlayers>>,
    facts: Facts,
    faults: Faults,
) -> Router {
    let handler = fact::OnFact { rollups: Arc::clone(rollups), active: Arc::clone(active), facts, faults };
    Router::new().on_each(COUNTED, handler)
}
