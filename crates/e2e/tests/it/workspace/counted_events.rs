//! Checks that the money audit expects a fact of every event that analytics counts, and of no other.

use std::collections::BTreeSet;
use std::fs;

use contracts::{EventType, Message};
use pitboss::audit::event_rules::counted;
use serde_json::Value;

use super::root;

/// Names of the types in the list of analytics.
fn counted_by_analytics() -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("services/analytics/src/handlers.rs")).expect("the handlers");
    let list = text.split("const COUNTED:").nth(1).and_then(|rest| rest.split("];").next());
    let names = list.expect("the list `COUNTED`").split("EventType::").skip(1);
    names.map(|rest| rest.chars().take_while(char::is_ascii_alphanumeric).collect()).collect()
}

/// Message with every field set: the example in the schema of its type.
fn example(event_type: EventType) -> Message {
    let path = root().join(format!("schemas/events/{event_type}.json"));
    let schema: Value = serde_json::from_str(&fs::read_to_string(path).expect("a schema")).expect("JSON");
    Message::from_json(event_type, &schema["examples"][0].to_string()).expect("a valid example")
}

#[test]
fn audit_expects_fact_of_each_counted_event() {
    let analytics = counted_by_analytics();
    for event_type in EventType::ALL {
        let is_counted = analytics.contains(event_type.short_name());
        // Analytics counts registrations too. They have no amounts, and the audit does not read their topic.
        let is_expected = is_counted && *event_type != EventType::PlayerRegistered;
        assert_eq!(counted(&example(*event_type)).is_some(), is_expected, "{event_type}");
    }
    assert!(analytics.contains(EventType::PlayerRegistered.short_name()), "the list was read: {analytics:?}");
}
