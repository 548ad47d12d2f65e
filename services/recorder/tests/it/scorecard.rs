//! The scorecard of `./pitboss verify --report`: stored, shown, and kept over a restart.

use contracts::scorecard::BYTES_MAX;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{Recorder, error, fetch};

const PATH: &str = "/api/v1/scorecard";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const LOST_TRACE: &str = "1af7651916cd43dd8448eb211c80319c";

fn row(fault: &str, trace_id: &str, verdict: &str) -> Value {
    let spread = json!({"min": 0.5, "median": 1.5, "max": 2.5});
    let figures = json!({"p50_ms": 10.0, "p95_ms": 20.0, "failed_percent": 0.0});
    json!({"fault": fault, "verdict": verdict, "proven": 1, "runs": 2, "signal_s": spread, "alert_s": null,
        "recovery_s": spread, "first_seen_in": "<b>an issue</b>", "trace_id": trace_id, "culprit": "",
        "blind": ["lag"], "false_alarms": ["consumer lag"], "money": "nothing found", "baseline": figures,
        "under_fault": figures, "why": ""})
}

fn scorecard() -> Value {
    let rows = [row("payment.random-failure", TRACE, "PROVEN"), row("mongo.stall", LOST_TRACE, "NOISY")];
    json!({"version": 1, "finished_at": 1_700_000_000.0, "runs": [{"seed": 8101, "duration_s": 61.0}],
        "rows": rows, "skipped": [{"fault": "redis.flush", "why": "something else runs this platform"}]})
}

async fn put(recorder: &Recorder, body: String) -> u16 {
    fetch(recorder.operator_request(Method::PUT, PATH).body(body)).await.status().as_u16()
}

/// Sends only the head of a request with a body of this length, and returns the status of the answer.
async fn status_of_declared(recorder: &Recorder, length: usize) -> u16 {
    let host = recorder.query.strip_prefix("http://").expect("a URL");
    let mut stream = TcpStream::connect(host).await.expect("connects");
    let head = format!("PUT {PATH} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("writes");
    let mut status_line = [0; 12];
    stream.read_exact(&mut status_line).await.expect("an answer");
    let status_line = String::from_utf8_lossy(&status_line).into_owned();
    status_line.rsplit(' ').next().and_then(|status| status.parse().ok()).expect("a status")
}

#[tokio::test(flavor = "multi_thread")]
async fn scorecard_is_shown_after_a_restart() {
    let recorder = Recorder::start(&[]).await;
    assert_eq!(recorder.get(PATH).await.status(), 404);
    let html = recorder.get("/scorecard").await.text().await.expect("text");
    assert!(html.contains("<code>./pitboss verify --report</code>"), "{html}");

    recorder.store(4, error(TRACE, "cccccccccccccccc", "Declined", "no", "anna")).await;
    let issue = recorder.lines("/api/v1/issues").await[0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(put(&recorder, scorecard().to_string()).await, 204);
    let deleted = fetch(recorder.operator_request(Method::DELETE, "/api/v1/envelopes")).await;
    assert_eq!(deleted.status(), 204);
    let stored: Value = recorder.get(PATH).await.json().await.expect("JSON");
    assert_eq!(stored["rows"][0]["fault"], "payment.random-failure", "it is not an envelope");
    recorder.store(4, error(TRACE, "cccccccccccccccc", "Declined", "no", "anna")).await;

    let recorder = Recorder::start_in(recorder.stop().await, &[]).await;
    let again: Value = recorder.get(PATH).await.json().await.expect("JSON");
    assert_eq!(again, stored);
    let html = recorder.get("/scorecard").await.text().await.expect("text");
    for text in [
        "<b>1</b> of <b>2</b> faults",
        "0.5 / 1.5 / 2.5",
        "<span class=\"badge\">NOISY</span>",
        "<svg",
        "redis.flush",
        "10.0 → 10.0",
        &format!("href=\"/traces/{TRACE}\""),
        &format!("href=\"/issues/{issue}\""),
    ] {
        assert!(html.contains(text), "{text}: {html}");
    }
    assert!(!html.contains(LOST_TRACE), "nothing is stored of it");
    assert!(!html.contains("<b>an issue"), "text is no markup");
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_scorecard_is_refused() {
    let recorder = Recorder::start(&[]).await;
    let url = format!("{}{PATH}", recorder.query);
    let without = recorder.client.put(&url).body(scorecard().to_string());
    assert_eq!(fetch(without).await.status(), 401);
    let wrong = recorder.client.put(&url).header("x-operator-token", "guess").body(scorecard().to_string());
    assert_eq!(fetch(wrong).await.status(), 401);
    let mut negative = scorecard();
    negative["rows"][0]["signal_s"]["min"] = json!(-1.0);
    for refused in ["nonsense".to_owned(), "{}".to_owned(), negative.to_string()] {
        assert_eq!(put(&recorder, refused.clone()).await, 400, "{refused}");
    }
    assert_eq!(recorder.get(PATH).await.status(), 404, "nothing was stored");
    let setting = format!("\nbody_bytes_max = {BYTES_MAX}\n");
    assert!(recorder::DEFAULTS.contains(&setting), "the listener has the same limit");
    assert_eq!(status_of_declared(&recorder, BYTES_MAX + 1).await, 413);
    assert_eq!(recorder.get(PATH).await.status(), 404, "nothing was stored");
    let large = format!("{}{}", scorecard(), " ".repeat(BYTES_MAX / 2));
    assert_eq!(put(&recorder, large).await, 204);
}
