//! A fault that a request carries in its baggage, from the HTTP server to the handler.

use axum::{Router, routing::get};
use chassis::{Lifecycle, Shutdown};
use faults::{FaultId, Faults, Options, now_ms, request};
use telemetry::propagation::TrustPolicy;

use crate::lifecycle::listeners;

const SECRET: &[u8] = b"the key of the tests of chassis, long";

/// Baggage with a delay of seven milliseconds.
fn baggage(expires_at_ms: i64, secret: &[u8]) -> String {
    let fault = (FaultId::ConsumerSlow, vec![("delay_ms".to_owned(), 7)]);
    format!("{}={}", request::BAGGAGE_KEY, request::sign(&[fault], expires_at_ms, secret))
}

#[tokio::test]
async fn signed_fault_acts_on_its_request_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut listeners = listeners(60_000, &[]).await;
    listeners.faults = Faults::watch(Options {
        file: folder.path().join("faults.json"),
        service: "test",
        release: String::new(),
        secret: SECRET.to_vec(),
    });
    let url = format!("http://{}/delay", listeners.http.local_addr().expect("an address"));
    let shutdown = Shutdown::new();
    let mut lifecycle = Lifecycle::start(listeners, shutdown.clone());
    let faults = lifecycle.faults();
    let delay = move || async move {
        let values = chassis::faults::active(&faults, FaultId::ConsumerSlow, None, None);
        values.map_or_else(|| "none".to_owned(), |values| values.to_string())
    };
    let routes = Router::new().route("/delay", get(delay));
    lifecycle.serve(chassis::http::router(routes, lifecycle.http(), TrustPolicy::inside()));
    let applied = lifecycle.faults();
    let running = telemetry::spawn(lifecycle.run());

    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let later_ms = now_ms() + 600_000;
    for (baggage, expected) in [
        (baggage(later_ms, SECRET), "delay_ms=7"),
        (baggage(later_ms, b"another key that is also long enough"), "none"),
        (baggage(1, SECRET), "none"),
        ("pitboss.faults=consumer.slow".to_owned(), "none"),
        (String::new(), "none"),
    ] {
        let response = client.get(&url).header("baggage", &baggage).send().await.expect("a response");
        assert_eq!(response.text().await.expect("a body"), expected, "{baggage}");
    }
    assert_eq!(applied.applied(), [(FaultId::ConsumerSlow, 1)]);
    shutdown.trigger();
    assert!(running.await.expect("no panic").is_ok());
}
