//! Sessions of the process and of its requests, as they reach Sentry.

use axum::Router;
use axum::routing::get;
use serde_json::{Value, json};
use telemetry::http::server_layer;
use telemetry::propagation::TrustPolicy;

use super::receiver::{Behaviour, Receiver};
use super::scenario;

pub(crate) fn scenario(name: &str) -> Option<fn()> {
    match name {
        "sessions" => Some(sessions),
        _ => None,
    }
}

async fn fails() -> &'static str {
    telemetry::report(&std::io::Error::other("the disk is full"), &[]);
    "handled"
}

async fn panics() -> &'static str {
    panic!("handler fell over")
}

/// Two requests that succeed, one with a handled error and one that panics.
fn sessions() {
    let is_on = scenario::argument("OFF").is_none();
    let telemetry = scenario::telemetry_with(|config| config.sessions = is_on);
    assert!(telemetry.flush_blocking(scenario::SOON_MS));
    scenario::block_on(async {
        let app = Router::new()
            .route("/fine", get(|| async { "fine" }))
            .route("/fails", get(fails))
            .route("/panics", get(panics))
            .layer(server_layer(TrustPolicy::inside()));
        let address = super::http::serve(app).await;
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        for (path, status) in [("fine", 200), ("fine", 200), ("fails", 200), ("panics", 500)] {
            let answer = client.get(format!("{address}/{path}")).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), status, "{path}");
        }
    });
    if scenario::argument("CRASH").is_some() {
        telemetry::sessions::process_crashed();
    }
    scenario::finish(telemetry);
}

/// The two updates of the process's session.
fn process(receiver: &Receiver) -> (Value, Value) {
    let updates: Vec<Value> = receiver.items_of("session").into_iter().map(|item| item.payload).collect();
    let (begin, end): (Vec<Value>, Vec<Value>) =
        updates.into_iter().partition(|update| update["init"] == true);
    let [begin]: [Value; 1] = begin.try_into().expect("one begin");
    let [end]: [Value; 1] = end.try_into().expect("one end");
    (begin, end)
}

#[test]
fn requests_are_summed_by_outcome() {
    let receiver = Receiver::start(Behaviour::Normal);
    scenario::run("sessions", &receiver.dsn(), &[]);
    let sums = receiver.items_of("sessions");
    let mut counted = [0; 3];
    for sum in &sums {
        assert_eq!(sum.payload["attrs"]["release"], "game@1.2.3");
        assert_eq!(sum.payload["attrs"]["environment"], "test");
        for aggregate in sum.payload["aggregates"].as_array().unwrap() {
            assert!(aggregate["started"].as_str().unwrap().ends_with(":00Z"), "a minute: {aggregate}");
            assert!(aggregate.get("did").is_none(), "no user: {aggregate}");
            for (count, name) in counted.iter_mut().zip(["exited", "errored", "crashed"]) {
                *count += aggregate[name].as_u64().unwrap_or_default();
            }
        }
    }
    assert_eq!(counted, [2, 1, 1]);
    assert_eq!(receiver.items_of("event").len(), 2, "the errors themselves arrive as before");
}

#[test]
fn process_has_one_session() {
    let receiver = Receiver::start(Behaviour::Normal);
    scenario::run("sessions", &receiver.dsn(), &[]);
    let (begin, end) = process(&receiver);
    assert_eq!(begin["sid"], end["sid"]);
    assert_eq!(begin["started"], end["started"]);
    assert_eq!([&begin["status"], &end["status"]], [&json!("ok"), &json!("exited")]);
    assert_eq!([&begin["errors"], &end["errors"]], [&json!(0), &json!(2)]);
    assert_eq!([&begin["did"], &end["attrs"]["release"]], [&Value::Null, &json!("game@1.2.3")]);
    assert!(begin.get("duration").is_none() && end["duration"].as_f64().is_some_and(|took| took > 0.0));
}

#[test]
fn failed_process_has_crashed() {
    let receiver = Receiver::start(Behaviour::Normal);
    scenario::run("sessions", &receiver.dsn(), &[("CRASH", "1")]);
    assert_eq!(process(&receiver).1["status"], "crashed");
}

#[test]
fn sessions_can_be_switched_off() {
    let receiver = Receiver::start(Behaviour::Normal);
    scenario::run("sessions", &receiver.dsn(), &[("OFF", "1")]);
    assert!(receiver.items_of("sessions").is_empty() && receiver.items_of("session").is_empty());
    assert_eq!(receiver.items_of("event").len(), 2);
}

#[test]
fn lost_sessions_are_reported() {
    let limit = "x-sentry-rate-limits: 60:session:organization\r\n".to_owned();
    let receiver = Receiver::start(Behaviour::First(Box::new(Behaviour::Answer(200, limit))));
    scenario::run("sessions", &receiver.dsn(), &[]);
    assert_eq!(receiver.items_of("session").len(), 1, "the begin of the process was answered with the limit");
    assert!(receiver.items_of("sessions").is_empty());
    assert_eq!(
        receiver.reported("ratelimit_backoff", "session"),
        5,
        "four requests, and the end of the process"
    );
}
