//! Event handlers. Every counted event becomes a fact, and [`crate::domain::fact`] decides its kind, so one handler serves all
//! types.

mod fact;
mod item;

use std::sync::{Arc, Mutex};

use bus::{Producer, Router};
use contracts::EventType;
use contracts::proto::analytics::v1::FactItem;
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
    producer: Producer,
) -> Router {
    let (rollups, active) = (Arc::clone(rollups), Arc::clone(active));
    let fan_out = item::FanOut { producer, faults: faults.clone() };
    let handler = fact::OnFact { rollups, active, facts, faults, fan_out };
    Router::new().on_each(COUNTED, handler).on::<FactItem>(item::OnItem)
}
