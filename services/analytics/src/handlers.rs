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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use contracts::Message;

    use super::*;
    use crate::domain::fact::{Fact, Kind};

    /// The schema of each type has an example with every field set.
    #[test]
    fn only_counted_types_have_a_fact() {
        let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/events");
        for event_type in EventType::ALL {
            let schema = std::fs::read_to_string(schemas.join(format!("{event_type}.json"))).unwrap();
            let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
            let message = Message::from_json(*event_type, &schema["examples"][0].to_string()).unwrap();
            let kind = Fact::of(&message, 0).unwrap().map(|fact| fact.kind);
            assert_eq!(kind.is_some(), COUNTED.contains(event_type), "{event_type}");
            let stored = kind.map(Kind::as_str);
            assert_eq!(stored.and_then(Kind::parse), kind, "{event_type}: its kind is not in `ALL`");
        }
    }
}
