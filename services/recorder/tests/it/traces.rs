//! Traces assembled from the envelopes of several services.

use serde_json::{Value, json};

use futures::StreamExt as _;

use crate::{
    protocol::encoded,
    support::{Program, Recorder, client, error, fetch, key, store_bet, transaction},
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

async fn trace(recorder: &Recorder, trace_id: &str) -> Value {
    recorder.get(&format!("/api/v1/traces/{trace_id}")).await.json().await.expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn trace_joins_spans_errors_logs_and_metrics() {
    let recorder = Recorder::start(&[]).await;
    store_bet(&recorder, TRACE).await;
    recorder.store(3, error(TRACE, "cccccccccccccccc", "ParseError", "bad", "anna")).await;
    recorder
        .store(1, transaction(&"ff".repeat(16), "eeeeeeeeeeeeeeee", None, "http.server", "GET /other", 100.0))
        .await;
    let log = json!({"items": [
        {"timestamp": 100.012, "trace_id": TRACE, "span_id": "cccccccccccccccc", "level": "info", "body": "spun", "attributes": {"reels": {"value": [1, 2], "type": "array"}}},
        {"timestamp": 100.011, "trace_id": "ff".repeat(16), "level": "info", "body": "of another trace"}]});
    let metric = json!({"items": [{"timestamp": 100.013, "trace_id": TRACE, "name": "bets.settled", "type": "counter", "value": 1}]});
    recorder
        .store(3, format!("{{}}\n{{\"type\":\"log\"}}\n{log}\n{{\"type\":\"trace_metric\"}}\n{metric}\n"))
        .await;

    let found = trace(&recorder, TRACE).await;
    assert_eq!(found["trace_id"], TRACE);
    assert_eq!(found["services"], json!(["gateway", "game"]), "in order of their first span");
    assert_eq!(found["missing_parents"], json!([]));
    let spans = found["spans"].as_array().expect("spans");
    let ids: Vec<_> = spans.iter().map(|span| span["span_id"].as_str().expect("an id")).collect();
    assert_eq!(
        ids,
        ["aaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaad", "cccccccccccccccc", "cccccccccccccccd"],
        "in order of their start"
    );
    let root = &spans[0];
    assert_eq!((&root["parent_span_id"], &root["is_transaction"]), (&Value::Null, &json!(true)));
    assert_eq!((&root["op"], &root["description"]), (&json!("http.server"), &json!("POST /api/v1/bets")));
    assert_eq!((&root["start"], &root["end"]), (&json!(100.0), &json!(100.02)));
    assert_eq!((&root["project"], &root["release"]), (&json!("gateway"), &json!("pitboss@1.0.0")));
    assert_eq!(root["data"]["http.route"], "POST /api/v1/bets");
    assert_eq!(root["links"][0]["trace_id"], "11".repeat(16));
    assert_eq!(
        (&spans[1]["data"]["db.system"], &spans[1]["is_transaction"]),
        (&json!("mongodb"), &json!(false))
    );
    assert_eq!(found["errors"][0]["type"], "ParseError");
    assert_eq!(found["errors"][0]["span_id"], "cccccccccccccccc");
    assert_eq!(found["logs"].as_array().expect("logs").len(), 1);
    assert_eq!(
        (&found["logs"][0]["body"], &found["logs"][0]["attributes"]["reels"]),
        (&json!("spun"), &json!([1, 2]))
    );
    assert_eq!(found["metrics"][0]["name"], "bets.settled");

    let listed = recorder.lines("/api/v1/traces").await;
    assert_eq!(listed.len(), 2);
    let summary = listed.iter().find(|line| line["trace_id"] == TRACE).expect("the trace");
    assert_eq!(summary["root"], "http.server POST /api/v1/bets");
    assert_eq!((&summary["spans"], &summary["errors"]), (&json!(4), &json!(1)));
    assert_eq!(summary["services"].as_array().expect("services").len(), 2);
    assert_eq!(recorder.lines("/api/v1/traces?limit=1").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_parents_and_duplicates_are_listed() {
    let recorder = Recorder::start(&[]).await;
    let orphan =
        transaction(TRACE, "cccccccccccccccc", Some("0123456789abcdef"), "queue.process", "x", 100.0);
    recorder.store(3, orphan.clone()).await;
    recorder.store(3, orphan).await;
    let found = trace(&recorder, TRACE).await;
    assert_eq!(found["missing_parents"], json!(["0123456789abcdef"]));
    assert_eq!(found["spans"].as_array().expect("spans").len(), 4);
    assert_eq!(found["duplicates"], json!(["cccccccccccccccc", "cccccccccccccccd"]));
    assert_eq!(recorder.lines("/api/v1/traces").await.len(), 1, "its root is not stored");
    assert_eq!(recorder.get(&format!("/api/v1/traces/{}", "00".repeat(16))).await.status(), 404);
    assert_eq!(recorder.get("/api/v1/traces/nonsense").await.status(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn span_v2_items_are_spans() {
    let recorder = Recorder::start(&[]).await;
    let spans = json!({"items": [
        {"trace_id": TRACE, "span_id": "aaaaaaaaaaaaaaaa", "name": "pageload", "status": "ok", "is_segment": true, "start_timestamp": 1.0, "end_timestamp": 2.0,
         "attributes": {"sentry.op": {"value": "pageload", "type": "string"}, "sentry.release": {"value": "web@1", "type": "string"}}},
        {"trace_id": TRACE, "span_id": "bbbbbbbbbbbbbbbb", "parent_span_id": "aaaaaaaaaaaaaaaa", "name": "GET /x", "status": "error", "start_timestamp": 1.2, "end_timestamp": 1.4,
         "attributes": {"sentry.op": {"value": "http.client", "type": "string"}}}]});
    let headers =
        "{\"type\":\"span\",\"item_count\":2,\"content_type\":\"application/vnd.sentry.items.span.v2+json\"}";
    recorder.store(1, format!("{{}}\n{headers}\n{spans}\n")).await;
    let found = trace(&recorder, TRACE).await;
    assert_eq!(found["spans"][0]["op"], "pageload");
    assert_eq!(
        (&found["spans"][0]["is_transaction"], &found["spans"][0]["release"]),
        (&json!(true), &json!("web@1"))
    );
    assert_eq!(
        (&found["spans"][1]["parent_span_id"], &found["spans"][1]["status"]),
        (&json!("aaaaaaaaaaaaaaaa"), &json!("error"))
    );
    let listed = recorder.lines("/api/v1/traces").await;
    assert_eq!(
        (&listed[0]["root"], &listed[0]["spans"], &listed[0]["failed"]),
        (&json!("pageload"), &json!(2), &json!(0)),
        "a failed child does not fail the trace, as with transactions"
    );
    assert_eq!(recorder.lines("/api/v1/releases").await[0]["release"], "web@1");
}

#[tokio::test(flavor = "multi_thread")]
async fn trace_without_a_root_is_listed() {
    let recorder = Recorder::start(&[]).await;
    let streamed = "11".repeat(16);
    let part = |span: &str, parent: &str, name: &str| {
        transaction(TRACE, span, Some(parent), "queue.process", name, 100.0)
    };
    recorder.store(3, part("cccccccccccccccc", "0123456789abcdef", "first")).await;
    recorder.store(4, part("dddddddddddddddd", "cccccccccccccccd", "second")).await;
    let spans = json!({"items": [
        {"trace_id": streamed, "span_id": "bbbbbbbbbbbbbbbb", "parent_span_id": "aaaaaaaaaaaaaaaa", "name": "child", "start_timestamp": 1.2, "end_timestamp": 1.4},
        {"trace_id": streamed, "span_id": "aaaaaaaaaaaaaaaa", "parent_span_id": "0123456789abcdef", "name": "GET /x", "status": "error", "is_segment": true,
         "start_timestamp": 1.0, "end_timestamp": 2.0, "attributes": {"sentry.op": {"value": "http.server", "type": "string"}}}]});
    recorder.store(1, format!("{{}}\n{{\"type\":\"span\"}}\n{spans}\n")).await;
    let log = json!({"items": [{"trace_id": "22".repeat(16), "body": "without any span"}]});
    recorder.store(1, format!("{{}}\n{{\"type\":\"log\"}}\n{log}\n")).await;

    let listed = recorder.lines("/api/v1/traces").await;
    let shown: Vec<_> = listed
        .iter()
        .map(|line| (line["root"].as_str(), line["spans"].as_u64(), line["failed"].as_u64()))
        .collect();
    assert_eq!(
        shown,
        [(Some("http.server GET /x"), Some(2), Some(1)), (Some("queue.process first"), Some(4), Some(0))]
    );
    assert_eq!(recorder.lines("/api/v1/traces?project=game").await.len(), 1);
    assert!(recorder.get("/").await.text().await.expect("text").contains(TRACE));

    recorder.store(1, transaction(TRACE, "eeeeeeeeeeeeeeee", None, "http.server", "POST /x", 99.0)).await;
    let listed = recorder.lines("/api/v1/traces").await;
    assert_eq!(listed.len(), 2);
    let line = listed.iter().find(|line| line["trace_id"] == TRACE).expect("the trace");
    assert_eq!(
        (&line["root"], &line["root_project"]),
        (&json!("http.server POST /x"), &json!("gateway")),
        "a real root is preferred"
    );
    let of_game = recorder.lines("/api/v1/traces?project=game").await;
    assert!(of_game.is_empty(), "a trace with a root is listed only by its root: {of_game:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn earliest_streamed_root_names_the_trace() {
    let recorder = Recorder::start(&[]).await;
    let root = |id: &str, name: &str, start: f64| {
        json!({"trace_id": TRACE, "span_id": id.repeat(16), "name": name, "status": "ok", "is_segment": true,
            "start_timestamp": start, "end_timestamp": start + 0.5})
    };
    let spans =
        json!({"items": [root("b", "second", 2.0), root("a", "first", 1.0), root("c", "third", 3.0)]});
    recorder.store(1, format!("{{}}\n{{\"type\":\"span\"}}\n{spans}\n")).await;
    assert_eq!(recorder.lines("/api/v1/traces").await[0]["root"], "default first");
}

#[tokio::test(flavor = "multi_thread")]
async fn trace_is_listed_after_its_head_was_deleted() {
    let more =
        [("PITBOSS__RECORDER__SEGMENT_BYTES", "20000"), ("PITBOSS__RECORDER__RETENTION_BYTES", "60000")];
    let recorder = Recorder::start(&more).await;
    for number in 0..200 {
        let span = format!("{number:016x}");
        recorder
            .store(3, transaction(TRACE, &span, Some("0123456789abcdef"), "queue.process", "x", 100.0))
            .await;
    }
    let status: Value = recorder.get("/api/v1/status").await.json().await.expect("JSON");
    assert!(status["first_seq"].as_u64() > Some(1), "{status}");
    assert_eq!(recorder.lines("/api/v1/traces").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_and_metrics_find_their_span_by_attribute() {
    let recorder = Recorder::start(&[]).await;
    recorder.store(1, transaction(TRACE, "aaaaaaaaaaaaaaaa", None, "http.server", "POST /x", 100.0)).await;
    let span = json!({"sentry.trace.parent_span_id": {"value": "aaaaaaaaaaaaaaad", "type": "string"}});
    let log = json!({"items": [{"timestamp": "1970-01-01T00:01:40.002Z", "trace_id": TRACE, "level": "info", "body": "found", "attributes": span}]});
    let metric = json!({"items": [{"timestamp": 100.0, "trace_id": TRACE, "name": "m", "type": "counter", "value": 1, "attributes": span}]});
    recorder
        .store(1, format!("{{}}\n{{\"type\":\"log\"}}\n{log}\n{{\"type\":\"trace_metric\"}}\n{metric}\n"))
        .await;
    let found = trace(&recorder, TRACE).await;
    assert_eq!(
        (&found["logs"][0]["span_id"], &found["logs"][0]["timestamp"]),
        (&json!("aaaaaaaaaaaaaaad"), &json!(100.002))
    );
    assert_eq!(found["metrics"][0]["span_id"], "aaaaaaaaaaaaaaad");
    let html = recorder.get(&format!("/traces/{TRACE}")).await.text().await.expect("text");
    let row = html.find("found").and_then(|at| html.get(at.saturating_sub(600)..at)).expect("a row");
    assert!(row.contains("--d:2"), "the log is below its span, not at the bottom: {row}");
    assert_eq!(recorder.lines("/api/v1/logs").await[0]["body"], "found");
}

#[tokio::test(flavor = "multi_thread")]
async fn huge_trace_is_truncated_and_counts_omissions() {
    let directory = tempfile::tempdir().expect("a folder");
    let program = Program::start(directory.path(), &[]).await;
    let client = client();
    let data = "x".repeat(3 << 20);
    for number in 0..40 {
        let span = json!({"items": [{"trace_id": TRACE, "span_id": format!("{:016x}", number + 1), "parent_span_id": format!("{number:016x}"),
            "name": "huge", "start_timestamp": 1.0, "end_timestamp": 2.0, "attributes": {"data": {"value": data, "type": "string"}}}]});
        let body = encoded(format!("{{}}\n{{\"type\":\"span\"}}\n{span}\n").as_bytes()).swap_remove(4).1;
        let url = format!("{}/api/1/envelope/?sentry_key={}", program.ingest, key(1));
        let response = fetch(client.post(url).header("content-encoding", "zstd").body(body)).await;
        assert_eq!(response.status(), 200);
    }
    let get = |path: String| client.get(format!("{}{path}", program.query)).send();
    let found: Value =
        get(format!("/api/v1/traces/{TRACE}")).await.expect("a response").json().await.expect("JSON");
    let left_out = &found["left_out"];
    let shown = found["spans"].as_array().expect("spans").len() as u64;
    assert_eq!(found["truncated"], true);
    assert!(shown >= 1 && left_out["envelopes"].as_u64() > Some(0), "{left_out}");
    let counted = shown
        + left_out["spans"].as_u64().expect("spans")
        + left_out["envelopes"].as_u64().expect("envelopes");
    assert_eq!(counted, 40, "everything left out is counted: {left_out}");
    assert_eq!(found["missing_parents"], json!([]), "a stored parent is never missing");
    let html = get(format!("/traces/{TRACE}")).await.expect("a response").text().await.expect("text");
    assert!(html.contains("Truncated") && html.contains("is not shown") && !html.contains("is missing"));
    let peak = program.peak_bytes();
    assert!(peak < 64 * 1024 * 1024, "a peak of {peak} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn envelopes_above_the_read_limit_are_counted() {
    let recorder = Recorder::start(&[]).await;
    let body =
        format!("{{}}\n{{\"type\":\"log\"}}\n{}\n", json!({"items": [{"trace_id": TRACE, "body": "x"}]}));
    let sends = (0..5_010).map(|_| recorder.store(1, body.clone()));
    futures::stream::iter(sends).buffer_unordered(64).collect::<Vec<_>>().await;
    let found = trace(&recorder, TRACE).await;
    assert_eq!((&found["truncated"], &found["left_out"]["envelopes"]), (&json!(true), &json!(10)));
}

#[tokio::test(flavor = "multi_thread")]
async fn skipped_attachments_count_toward_limits() {
    const ATTACHMENT_BYTES: usize = 150 << 20;
    let recorder = Recorder::start(&[]).await;
    let event = error(TRACE, "aaaaaaaaaaaaaaaa", "E", "with a dump", "anna");
    let mut plain =
        format!("{event}{{\"type\":\"attachment\",\"length\":{ATTACHMENT_BYTES}}}\n").into_bytes();
    plain.resize(plain.len() + ATTACHMENT_BYTES, b'a');
    let body = zstd::encode_all(&plain[..], 1).expect("memory");
    for _ in 0..6 {
        let sent = recorder.post(1, body.clone()).header("content-encoding", "zstd").send();
        assert_eq!(sent.await.expect("a response").status(), 200);
    }
    let found = trace(&recorder, TRACE).await;
    let (truncated, left_out) = (&found["truncated"], &found["left_out"]["envelopes"]);
    assert_eq!((truncated, left_out), (&json!(true), &json!(2)), "four are more than 512 MiB");
    assert_eq!(found["errors"].as_array().map(Vec::len), Some(4));

    let issue = recorder.lines("/api/v1/issues").await.remove(0);
    assert_eq!((&issue["count"], &issue["truncated"]), (&json!(1), &json!(false)), "one event, sent again");
    let path = format!("/api/v1/issues/{}", issue["id"].as_str().expect("an id"));
    let detail: Value = recorder.get(&path).await.json().await.expect("JSON");
    let (truncated, left_out) = (&detail["truncated"], &detail["envelopes_left_out"]);
    assert_eq!((truncated, left_out), (&json!(true), &json!(2)), "an issue has the same limit");
    assert_eq!(detail["events"].as_array().map(Vec::len), Some(1), "it is shown once");
}
