//! Exports of OpenTelemetry: requests as its exporters send them to Sentry, and where their spans and logs are found.

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::{
    protocol::encoded,
    stub::wait_for_count,
    support::{Recorder, fetch, key},
};

const TRACE: &str = "5b8efff798038103d269b633813fc60c";

/// A producer and its consumer, as an exporter writes them in JSON.
fn spans() -> Value {
    json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "game"}}]},
        "scopeSpans": [{"scope": {"name": "kafka", "version": "1.0"}, "spans": [
            {"traceId": TRACE, "spanId": "eee19b7ec3c1b174", "parentSpanId": "", "name": "publish bets", "kind": 4,
             "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000000010000000",
             "attributes": [
                 {"key": "sentry.op", "value": {"stringValue": "queue.publish"}},
                 {"key": "messaging.destination.name", "value": {"stringValue": "bets"}},
                 {"key": "messaging.system", "value": {"stringValue": "kafka"}}],
             "status": {}},
            {"traceId": TRACE, "spanId": "eee19b7ec3c1b175", "parentSpanId": "eee19b7ec3c1b174", "name": "process bets", "kind": 5,
             "startTimeUnixNano": "1700000000020000000", "endTimeUnixNano": "1700000000030000000", "flags": 768,
             "attributes": [{"key": "messaging.system", "value": {"stringValue": "kafka"}}],
             "status": {"code": 2, "message": "no money"}}]}]}]})
}

fn logs() -> Value {
    json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [
        {"timeUnixNano": "1700000000025000000", "severityNumber": 17, "body": {"stringValue": "no money"},
         "traceId": TRACE, "spanId": "eee19b7ec3c1b175",
         "attributes": [{"key": "player.id", "value": {"stringValue": "p"}}]}]}]}]})
}

/// A span in protobuf: trace `aa…`, span `bb…`, name `GET /`, kind server, with `http.request.method`.
const PROTOBUF_SPAN: &[u8] = b"\x0a\x59\x12\x57\x12\x55\
    \x0a\x10\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\
    \x12\x08\xbb\xbb\xbb\xbb\xbb\xbb\xbb\xbb\
    \x2a\x05GET /\x30\x02\
    \x39\x00\x00\x2a\x36\xfe\x9c\x97\x17\
    \x41\x00\x00\x2a\x36\xfe\x9c\x97\x17\
    \x4a\x1c\x0a\x13http.request.method\x12\x05\x0a\x03GET";

/// Returns a request as the OTLP exporter of a collector sends it to Sentry.
fn export(
    recorder: &Recorder,
    signal: &str,
    content_type: &str,
    body: impl Into<reqwest::Body>,
) -> RequestBuilder {
    recorder
        .client
        .post(format!("{}/api/3/integration/otlp/v1/{signal}", recorder.ingest))
        .header("x-sentry-auth", format!("sentry sentry_key={}", key(3)))
        .header("content-type", content_type)
        .body(body)
}

async fn json_of(recorder: &Recorder, path: &str) -> Value {
    recorder.get(path).await.json().await.expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn first_path_of_traces_still_takes_them() {
    let recorder = Recorder::start(&[]).await;
    for path in ["otlp/v1/traces", "otlp/v1/traces/"] {
        let request = recorder
            .client
            .post(format!("{}/api/3/{path}", recorder.ingest))
            .header("x-sentry-auth", format!("sentry sentry_key={}", key(3)))
            .header("content-type", "application/json")
            .body(spans().to_string());
        assert_eq!(fetch(request).await.status(), 200, "{path}");
    }
    assert_eq!(recorder.lines("/api/v1/traces").await[0]["trace_id"], TRACE);
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_and_logs_are_in_their_trace() {
    let recorder = Recorder::start(&[]).await;
    for (signal, body) in [("traces", spans()), ("logs", logs())] {
        let response = fetch(export(&recorder, signal, "application/json", body.to_string())).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(response.text().await.expect("text"), "{}");
    }
    let trace = json_of(&recorder, &format!("/api/v1/traces/{TRACE}")).await;
    let field = |span: usize, name: &str| trace["spans"][span][name].clone();
    let ops: Vec<Value> = (0..2).map(|span| field(span, "op")).collect();
    assert_eq!(ops, ["queue.publish", "message"], "Sentry's rule for a span without an op");
    assert_eq!([field(0, "description"), field(1, "description")], ["publish bets", "process bets"]);
    assert_eq!([field(0, "status"), field(1, "status")], ["ok", "error"]);
    assert_eq!(
        [field(0, "is_transaction"), field(1, "is_transaction")],
        [true, true],
        "its parent is remote"
    );
    assert_eq!(field(1, "parent_span_id"), "eee19b7ec3c1b174");
    assert_eq!(field(1, "data")["resource.service.name"], "game");
    assert_eq!(trace["missing_parents"], json!([]));
    assert_eq!(trace["logs"][0]["body"], "no money");
    assert_eq!(
        (&trace["logs"][0]["level"], &trace["logs"][0]["span_id"]),
        (&json!("error"), &json!("eee19b7ec3c1b175"))
    );

    let listed = recorder.lines("/api/v1/traces").await.remove(0);
    assert_eq!((&listed["trace_id"], &listed["spans"]), (&json!(TRACE), &json!(2)), "{listed}");
    assert_eq!(recorder.lines("/api/v1/logs?project=game").await[0]["attributes"]["player.id"], "p");
    let queues = json_of(&recorder, "/api/v1/dashboards/queues").await;
    assert!(queues.to_string().contains("\"bets\""), "{queues}");
}

#[tokio::test(flavor = "multi_thread")]
async fn protobuf_is_accepted_in_every_encoding() {
    let recorder = Recorder::start(&[]).await;
    for (name, body) in encoded(PROTOBUF_SPAN) {
        let request = export(&recorder, "traces/", "application/x-protobuf", body.clone());
        let response = fetch(request.header("content-encoding", name)).await;
        assert_eq!(response.status(), 200, "{name}");
        assert_eq!(response.headers()["content-type"], "application/x-protobuf");
        let seq = response.headers()["x-recorder-seq"].to_str().expect("text").to_owned();
        assert!(response.bytes().await.expect("bytes").is_empty());
        let received = recorder.get(&format!("/api/v1/envelopes/{seq}/raw?as=received")).await;
        assert_eq!(received.headers()["x-recorder-content-encoding"], name);
        assert_eq!(received.bytes().await.expect("bytes"), body, "{name}");
        let envelope =
            recorder.get(&format!("/api/v1/envelopes/{seq}/raw")).await.text().await.expect("text");
        assert!(envelope.starts_with("{}\n{\"type\":\"span\",\"item_count\":1,"), "{envelope}");
    }
    let trace = json_of(&recorder, &format!("/api/v1/traces/{}", "aa".repeat(16))).await;
    assert_eq!(trace["spans"].as_array().map(Vec::len), Some(5));
    let span = &trace["spans"][0];
    assert_eq!((&span["op"], &span["description"]), (&json!("http.server"), &json!("GET /")));
    assert_eq!((&span["start"], &span["span_id"]), (&json!(1_700_000_000.0), &json!("bb".repeat(8))));
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_exports_have_sentrys_form() {
    let recorder = Recorder::start(&[("PITBOSS__LIMITS__MEMORY_BYTES_MAX", "300000")]).await;
    let (json, protobuf) = ("application/json; charset=utf-8", "application/x-protobuf");
    let url = format!("{}/api/3/integration/otlp/v1/traces", recorder.ingest);
    let large =
        json!({"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "a".repeat(300_000)}]}]}]}).to_string();
    // As received it is small. Each of its spans repeats the attributes of the resource.
    let resource = json!({"attributes": [{"key": "k", "value": {"stringValue": "a".repeat(10_000)}}]});
    let wide =
        json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": vec![json!({}); 100]}]}]});
    for (request, status, reason) in [
        (export(&recorder, "traces", json, "{"), 400, "not an OTLP export"),
        (export(&recorder, "traces", protobuf, "{}"), 400, "protobuf"),
        (export(&recorder, "traces", json, logs().to_string()), 400, "its resourceLogs belong to the path"),
        (export(&recorder, "logs", json, spans().to_string()), 400, "its resourceSpans belong to the path"),
        (export(&recorder, "logs", json, r#"{"resourceMetrics":[]}"#), 400, "its resourceMetrics are not"),
        (export(&recorder, "logs", "text/plain", "{}"), 415, "application/x-protobuf"),
        (export(&recorder, "metrics", json, "{}"), 404, "no such endpoint"),
        (export(&recorder, "traces", json, large), 413, "300000"),
        (export(&recorder, "traces", json, wide.to_string()), 413, "300000"),
        (recorder.client.post(&url).header("content-type", json).body("{}"), 401, "authorization"),
        (export(&recorder, "traces", json, "x").header("content-encoding", "gzip"), 400, "decode"),
    ] {
        let response = fetch(request).await;
        assert_eq!(response.status().as_u16(), status, "{reason}");
        let body: Value = response.json().await.expect("JSON");
        let detail = body["detail"].as_str().expect("a detail");
        assert!(detail.contains(reason), "{detail}");
    }
    assert!(recorder.lines("/api/v1/envelopes").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_survive_the_loss_of_the_index() {
    let recorder = Recorder::start(&[]).await;
    let large = json!({"resourceSpans": [{"scopeSpans": [{"spans": vec![spans()["resourceSpans"][0]["scopeSpans"][0]["spans"][0].clone(); 1_500]}]}]});
    let response = fetch(export(&recorder, "traces", "application/json", large.to_string())).await;
    assert_eq!(response.status(), 200);
    let path = format!("/api/v1/traces/{TRACE}");
    let before = json_of(&recorder, &path).await;
    assert_eq!(before["spans"].as_array().map(Vec::len), Some(1_500));
    let directory = recorder.stop().await;
    std::fs::remove_file(directory.path().join("data/index.sqlite")).expect("an index");
    let recorder = Recorder::start_in(directory, &[]).await;
    assert_eq!(json_of(&recorder, &path).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_are_forwarded_as_received() {
    let other = Recorder::start(&[]).await;
    let host = other.ingest.strip_prefix("http://").expect("http");
    let dsn = format!("http://{}@{host}/2", key(2));
    let recorder = Recorder::start(&[("PITBOSS__FORWARD__GAME", &dsn)]).await;
    let (name, body) = encoded(PROTOBUF_SPAN).swap_remove(1);
    let request = export(&recorder, "traces", "application/x-protobuf", body.clone());
    assert_eq!(fetch(request.header("content-encoding", name)).await.status(), 200);
    assert_eq!(fetch(export(&recorder, "logs", "application/json", logs().to_string())).await.status(), 200);
    wait_for_count(&recorder, "sent", 2).await;
    let arrived = other.lines("/api/v1/envelopes").await;
    let mut types: Vec<&Value> = arrived.iter().map(|line| &line["items"][0]["headers"]["type"]).collect();
    types.sort_by_key(|name| name.to_string());
    assert_eq!(types, [&json!("log"), &json!("span")]);
    let span = arrived.iter().find(|line| line["items"][0]["headers"]["type"] == "span").expect("a span");
    let received = other.get(&format!("/api/v1/envelopes/{}/raw?as=received", span["seq"])).await;
    assert_eq!(
        (span["project"].clone(), received.bytes().await.expect("bytes")),
        (json!("user"), body.into())
    );
}
