//! Check-ins, as they reach Sentry.

use std::time::Duration;

use serde_json::json;
use telemetry::check_in::{Job, Monitor};

use crate::receiver::{Behaviour, Receiver};
use crate::scenario::{self, finish, telemetry};

pub(crate) fn scenario(name: &str) -> Option<fn()> {
    match name {
        "check_in" => Some(check_in),
        "frequent" => Some(frequent),
        "seldom" => Some(seldom),
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

/// Many runs of a job that is meant to run each second.
fn frequent() {
    let telemetry = telemetry();
    scenario::block_on(async {
        let mut job = Job::new("game-sweeper", Duration::from_secs(1));
        for number in 0..50 {
            let result = job.run(async { if number % 2 == 0 { Err("away") } else { Ok(number) } }).await;
            assert_eq!(result.is_ok(), number % 2 != 0, "the result is that of the work");
        }
    });
    finish(telemetry);
}

#[test]
fn job_that_runs_often_checks_in_once() {
    let receiver = Receiver::start(Behaviour::Normal);
    scenario::run("frequent", &receiver.dsn(), &[]);
    let items = receiver.items_of("check_in");
    assert_eq!(items.len(), 1, "a minute has not passed");
    let payload = &items[0].payload;
    assert!(payload["duration"].as_f64().is_some_and(|took| took >= 0.0), "{payload}");
    let expected = json!({
        "check_in_id": payload["check_in_id"],
        "monitor_slug": "job-game-sweeper",
        "status": "ok",
        "environment": "test",
        "duration": payload["duration"],
        "monitor_config": {
            "schedule": { "type": "interval", "value": 1, "unit": "minute" },
            "checkin_margin": 2,
            "max_runtime": 5,
            "failure_issue_threshold": 2,
            "recovery_threshold": 1,
        },
    });
    assert_eq!(*payload, expected);
}

/// Three runs of a job that is meant to run each hour: one fails, one comes at once, one is cancelled.
fn seldom() {
    let telemetry = telemetry();
    scenario::block_on(async {
        let mut job = Job::new("retention", Duration::from_secs(3_600));
        let failed: Result<(), &str> = job.run(async { Err("full") }).await;
        let again: Result<(), &str> = job.run(async { Ok(()) }).await;
        assert!(failed.is_err() && again.is_ok());
        let hangs = job.run(std::future::pending::<Result<(), &str>>());
        assert!(tokio::time::timeout(Duration::from_millis(1), hangs).await.is_err());
    });
    finish(telemetry);
}

#[test]
fn job_that_runs_seldom_checks_in_at_both_ends() {
    let receiver = Receiver::start(Behaviour::Normal);
    scenario::run("seldom", &receiver.dsn(), &[]);
    let payloads: Vec<_> = receiver.items_of("check_in").into_iter().map(|item| item.payload).collect();
    let of = |status: &str| {
        payloads.iter().find(|payload| payload["status"] == status).unwrap_or_else(|| panic!("{payloads:?}"))
    };
    assert_eq!(payloads.len(), 2, "runs within the same minute are not reported: {payloads:?}");
    let (begin, end) = (of("in_progress"), of("error"));
    assert_eq!(begin["check_in_id"], end["check_in_id"]);
    assert!(begin.get("duration").is_none() && end["duration"].is_number());
    assert_eq!(
        end["monitor_config"]["schedule"],
        json!({ "type": "interval", "value": 60, "unit": "minute" })
    );
}
