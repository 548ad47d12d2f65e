//! Copies for another Sentry: the other side is a second recorder, so what arrives there went through a real door.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Recorder, key};

const ENVELOPE: &str = "{\"event_id\":\"9ec79c33ec9942ab8353589fcb2e04dc\",\"trace\":{\"public_key\":\"ours\"}}\n{\"type\":\"event\"}\n{\"message\":\"x\"}\n";

async fn forwarder(other: &Recorder) -> Recorder {
    let host = other.ingest.strip_prefix("http://").expect("http");
    let dsn = format!("http://{}@{host}/2", key(2));
    Recorder::start(&[("PITBOSS__FORWARD__GAME", &dsn)]).await
}

async fn state(recorder: &Recorder, field: &str) -> Option<u64> {
    let status: Value = recorder.get("/api/v1/status").await.json().await.expect("JSON");
    status["forward"][0][field].as_u64()
}

async fn until(recorder: &Recorder, field: &str, count: u64) {
    testkit::eventually(field, Duration::from_secs(20), || async {
        (state(recorder, field).await >= Some(count)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_arrive_under_the_other_key_and_only_those_that_were_asked_for() {
    let other = Recorder::start(&[]).await;
    let recorder = forwarder(&other).await;
    recorder.keep(3, ENVELOPE).await;
    recorder.keep(1, ENVELOPE).await;
    until(&recorder, "sent", 1).await;
    let arrived = other.lines("/api/v1/envelopes").await;
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0]["project"], "user");
    assert_eq!(arrived[0]["headers"]["trace"]["public_key"], key(2));
    assert_eq!(arrived[0]["items"][0]["payload"], json!({"message": "x"}));
    assert_eq!(
        recorder.lines("/api/v1/envelopes").await[0]["headers"]["trace"]["public_key"],
        "ours",
        "kept as it came"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sentry_that_hangs_delays_nobody_and_drops_are_counted() {
    let other = Recorder::start(&[]).await;
    let recorder = forwarder(&other).await;
    let hang = other.operate(Method::POST, "/api/v1/ingest/mode").body("{\"mode\":\"hang\"}");
    assert_eq!(hang.send().await.expect("an answer").status(), 200);
    let begun = std::time::Instant::now();
    for _ in 0..200 {
        recorder.keep(3, ENVELOPE).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(60), "200 envelopes took {:?}", begun.elapsed());
    until(&recorder, "dropped_queue_full", 60).await;

    let limit = "{\"mode\":\"rate_limit\",\"retry_after_s\":1000}";
    let limit = other.operate(Method::POST, "/api/v1/ingest/mode").body(limit);
    assert_eq!(limit.send().await.expect("an answer").status(), 200);
    until(&recorder, "dropped_rate_limited", 100).await;
    assert_eq!(other.lines("/api/v1/envelopes").await.len(), 0);
    assert_eq!(recorder.lines("/api/v1/envelopes").await.len(), 200);
}
