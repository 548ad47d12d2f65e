//! Work that blocks its thread is reported while it does: a request, and a record.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use telemetry::http::server_layer;
use telemetry::propagation::TrustPolicy;
use telemetry::spans;
use telemetry::watchdog::{Describe, Observed};
use tower::{Layer as _, ServiceExt as _};
use tracing::Instrument as _;

use super::receiver::{Behaviour, Receiver};
use super::scenario;

pub(crate) fn scenario(name: &str) -> Option<fn()> {
    match name {
        "blocked" => Some(blocked as fn()),
        "blocked_record" => Some(blocked_record),
        _ => None,
    }
}

/// A handler that blocks until the watchdog has reported it.
async fn block(_: Request<Body>) -> Result<Response, Infallible> {
    telemetry::set_user("player-7");
    tracing::info!("the handler begins to block");
    scenario::until("a report", || telemetry::last_event_id().is_some());
    Ok(Response::new(Body::empty()))
}

fn blocked() {
    let telemetry = scenario::telemetry();
    let watchdog = telemetry::watchdog::start().unwrap();
    scenario::block_on(async {
        let service = server_layer(TrustPolicy::default()).layer(tower::service_fn(block));
        let request = Request::post("/anything").body(Body::empty()).unwrap();
        assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
    });
    drop(watchdog);
    scenario::finish(telemetry);
}

/// A record as a consumer describes it.
struct Record;

impl Describe for Record {
    fn name(&self) -> String {
        "PlaceBet of bets in game".to_owned()
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        vec![("messaging.destination.name", "bets".to_owned()), ("messaging.kafka.offset", "7".to_owned())]
    }
}

fn blocked_record() {
    let telemetry = scenario::telemetry();
    let watchdog = telemetry::watchdog::start().unwrap();
    let handled = async {
        let span = spans::background("handle a record", []);
        let observed = Observed::new(Record, &span);
        let work = async { scenario::until("a report", || telemetry::last_event_id().is_some()) };
        observed.run(work).instrument(span.clone()).await;
        // The watchdog may still hold the span for a moment after its report
        spans::end(&span);
    };
    scenario::block_on(telemetry::with_hub(handled));
    drop(watchdog);
    scenario::finish(telemetry);
}

#[test]
fn blocked_record_is_reported_with_its_place() {
    let receiver = Receiver::start(Behaviour::Normal);
    scenario::run("blocked_record", &receiver.dsn(), &[]);
    let events = receiver.items_of("event");
    assert_eq!(events.len(), 1, "one report of one block: {:?}", events.len());
    let event = &events[0].payload;
    let transaction = receiver.transaction("handle a record").payload;
    assert_eq!(event["contexts"]["trace"]["trace_id"], transaction["contexts"]["trace"]["trace_id"]);
    assert_eq!(event["fingerprint"], serde_json::json!(["worker-blocked", "PlaceBet of bets in game"]));
    assert_eq!(event["tags"]["messaging.destination.name"], "bets");
    assert_eq!(event["contexts"]["pitboss"]["messaging.kafka.offset"], "7");
    assert!(event["contexts"]["pitboss"]["thread.waits_in"].is_string(), "{event}");
}

#[test]
fn blocked_worker_is_reported_in_its_trace() {
    let receiver = Receiver::start(Behaviour::Normal);
    scenario::run("blocked", &receiver.dsn(), &[]);
    let events = receiver.items_of("event");
    assert_eq!(events.len(), 1, "one report of one block: {:?}", events.len());
    let event = &events[0].payload;
    let transaction = receiver.transaction("POST <unmatched>").payload;
    assert_eq!(event["contexts"]["trace"]["trace_id"], transaction["contexts"]["trace"]["trace_id"]);
    assert_eq!(event["fingerprint"], serde_json::json!(["worker-blocked", "POST <unmatched>"]));
    assert_eq!(event["tags"]["kind"], "worker-blocked");
    assert_eq!(event["user"]["id"], "player-7");
    assert!(event["contexts"]["pitboss"]["thread.waits_in"].is_string(), "{event}");
    let crumbs = event["breadcrumbs"].to_string();
    assert!(crumbs.contains("the handler begins to block"), "{crumbs}");
}
