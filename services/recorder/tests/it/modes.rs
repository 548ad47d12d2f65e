//! Simulated outages: only the operator can start one, and it affects only ingest.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Recorder, fetch};

const ENVELOPE: &str = "{}\n{\"type\":\"event\"}\n{}\n";

async fn set(recorder: &Recorder, mode: Value) -> StatusCode {
    let request = recorder.operator_request(Method::POST, "/api/v1/ingest/mode").body(mode.to_string());
    fetch(request).await.status()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mode_affects_only_ingest() {
    let recorder = Recorder::start(&[]).await;
    recorder.store(1, ENVELOPE).await;

    assert_eq!(set(&recorder, json!({"mode": "refuse"})).await, StatusCode::OK);
    let response = fetch(recorder.post(1, ENVELOPE)).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(recorder.lines("/api/v1/envelopes").await.len(), 1, "queries still work");

    let limit = json!({"mode": "rate_limit", "retry_after_s": 7, "categories": ["transaction", "error"]});
    assert_eq!(set(&recorder, limit).await, StatusCode::OK);
    let response = fetch(recorder.post(1, ENVELOPE)).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()["retry-after"], "7");
    assert_eq!(response.headers()["x-sentry-rate-limits"], "7:transaction;error:organization:drill");

    assert_eq!(set(&recorder, json!({"mode": "hang"})).await, StatusCode::OK);
    let hanging = recorder.post(1, ENVELOPE).timeout(Duration::from_millis(300)).send().await;
    assert!(hanging.expect_err("no response").is_timeout());
    let waiting = telemetry::spawn(recorder.post(1, ENVELOPE).send());
    assert_eq!(recorder.lines("/api/v1/envelopes").await.len(), 1, "queries still work");
    assert_eq!(set(&recorder, json!({"mode": "ok"})).await, StatusCode::OK);
    let response = waiting.await.expect("no panic").expect("a response");
    assert_eq!(response.status(), StatusCode::OK, "a waiting request is answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn mode_ends_after_for_ms() {
    let recorder = Recorder::start(&[]).await;
    assert_eq!(set(&recorder, json!({"mode": "hang", "for_ms": 5_000})).await, StatusCode::OK);
    let now: Value = recorder.get("/api/v1/ingest/mode").await.json().await.expect("JSON");
    assert_eq!(now["mode"], "hang");
    assert!(now["left_ms"].as_u64().is_some_and(|left| left <= 5_000));
    recorder.store(1, ENVELOPE).await;
    let now: Value = recorder.get("/api/v1/ingest/mode").await.json().await.expect("JSON");
    assert_eq!(now, json!({"mode": "ok", "left_ms": null}));
}

#[tokio::test(flavor = "multi_thread")]
async fn mode_needs_operator_and_valid_name() {
    let recorder = Recorder::start(&[]).await;
    let unauthorised = recorder.client.post(format!("{}/api/v1/ingest/mode", recorder.query));
    let response = fetch(unauthorised.body("{\"mode\":\"hang\"}")).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    for wrong in [
        json!({"mode": "explode"}),
        json!({"mode": "refuse", "status": 200}),
        json!({"mode": "refuse", "when": 1}),
        json!({"mode": "rate_limit", "categories": ["a\r\nb"]}),
        json!([]),
    ] {
        assert_eq!(set(&recorder, wrong.clone()).await, StatusCode::BAD_REQUEST, "{wrong}");
    }
    recorder.store(1, ENVELOPE).await;
}
