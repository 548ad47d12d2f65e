//! Simulated outages: only the operator can start one, and it affects only ingest.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::Recorder;

const ENVELOPE: &str = "{}\n{\"type\":\"event\"}\n{}\n";

async fn set(recorder: &Recorder, mode: Value) -> StatusCode {
    let request = recorder.operate(Method::POST, "/api/v1/ingest/mode").body(mode.to_string());
    request.send().await.expect("an answer").status()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_refuses_limits_hangs_and_comes_back() {
    let recorder = Recorder::start(&[]).await;
    recorder.keep(1, ENVELOPE).await;

    assert_eq!(set(&recorder, json!({"mode": "refuse"})).await, StatusCode::OK);
    let answer = recorder.post(1, ENVELOPE).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(recorder.lines("/api/v1/envelopes").await.len(), 1, "queries go on");

    let limit = json!({"mode": "rate_limit", "retry_after_s": 7, "categories": ["transaction", "error"]});
    assert_eq!(set(&recorder, limit).await, StatusCode::OK);
    let answer = recorder.post(1, ENVELOPE).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.headers()["retry-after"], "7");
    assert_eq!(answer.headers()["x-sentry-rate-limits"], "7:transaction;error:organization:drill");

    assert_eq!(set(&recorder, json!({"mode": "hang"})).await, StatusCode::OK);
    let hung = recorder.post(1, ENVELOPE).timeout(Duration::from_millis(300)).send().await;
    assert!(hung.expect_err("no answer").is_timeout());
    let waiting = telemetry::spawn(recorder.post(1, ENVELOPE).send());
    assert_eq!(recorder.lines("/api/v1/envelopes").await.len(), 1, "queries go on");
    assert_eq!(set(&recorder, json!({"mode": "ok"})).await, StatusCode::OK);
    let answer = waiting.await.expect("no panic").expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK, "who waited long enough is served");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mode_with_an_end_ends() {
    let recorder = Recorder::start(&[]).await;
    assert_eq!(set(&recorder, json!({"mode": "hang", "for_ms": 5_000})).await, StatusCode::OK);
    let now: Value = recorder.get("/api/v1/ingest/mode").await.json().await.expect("JSON");
    assert_eq!(now["mode"], "hang");
    assert!(now["left_ms"].as_u64().is_some_and(|left| left <= 5_000));
    recorder.keep(1, ENVELOPE).await;
    let now: Value = recorder.get("/api/v1/ingest/mode").await.json().await.expect("JSON");
    assert_eq!(now, json!({"mode": "ok", "left_ms": null}));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_operator_may_and_only_what_there_is() {
    let recorder = Recorder::start(&[]).await;
    let anybody = recorder.client.post(format!("{}/api/v1/ingest/mode", recorder.query));
    let answer = anybody.body("{\"mode\":\"hang\"}").send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    for wrong in [
        json!({"mode": "explode"}),
        json!({"mode": "refuse", "status": 200}),
        json!({"mode": "refuse", "when": 1}),
        json!({"mode": "rate_limit", "categories": ["a\r\nb"]}),
        json!([]),
    ] {
        assert_eq!(set(&recorder, wrong.clone()).await, StatusCode::BAD_REQUEST, "{wrong}");
    }
    recorder.keep(1, ENVELOPE).await;
}
