//! Check-ins, as they reach Sentry.

use std::time::Duration;

use serde_json::json;
use telemetry::check_in::Monitor;

use crate::receiver::{Behaviour, Receiver};
use crate::scenario::{self, finish, telemetry};

pub(crate) fn scenario(name: &str) -> Option<fn()> {
    match name {
        "check_in" => Some(check_in),
        _ => None,
    }
}

fn check_in() {
    let telemetry = telemetry();
    let monitor = Monitor::of_consumer("game", Duration::from_secs(60));
    monitor.check_in();
    monitor.check_in();
    finish(telemetry);
}

#[test]
fn check_in_brings_its_monitor() {
    let receiver = Receiver::start(Behaviour::Normal);
    scenario::run("check_in", &receiver.dsn(), &[]);
    let items = receiver.items_of("check_in");
    let payloads: Vec<_> = items.into_iter().map(|item| item.payload).collect();
    assert_eq!(payloads.len(), 2);
    let expected = json!({
        "check_in_id": payloads[0]["check_in_id"],
        "monitor_slug": "consumer-game",
        "status": "ok",
        "environment": "test",
        "monitor_config": {
            "schedule": { "type": "interval", "value": 1, "unit": "minute" },
            "checkin_margin": 2,
            "max_runtime": 1,
        },
    });
    assert_eq!(payloads[0], expected);
    let id = |number: usize| payloads[number]["check_in_id"].as_str().unwrap().to_owned();
    assert!(id(0).len() == 32 && id(0) != id(1), "each check-in has an id of its own");
}
