//! One trace put together from the envelopes of several services.

use serde_json::{Value, json};

use crate::support::{Recorder, error, transaction};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

async fn trace(recorder: &Recorder, trace_id: &str) -> Value {
    recorder.get(&format!("/api/v1/traces/{trace_id}")).await.json().await.expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn services_meet_in_one_tree_with_errors_logs_and_metrics_in_place() {
    let recorder = Recorder::start(&[]).await;
    recorder
        .keep(
            3,
            transaction(
                TRACE,
                "cccccccccccccccc",
                Some("aaaaaaaaaaaaaaad"),
                "queue.process",
                "casino.bets.commands.v1",
                100.01,
            ),
        )
        .await;
    recorder
        .keep(1, transaction(TRACE, "aaaaaaaaaaaaaaaa", None, "http.server", "POST /api/v1/bets", 100.0))
        .await;
    recorder.keep(3, error(TRACE, "cccccccccccccccc", "ParseError", "bad", "anna")).await;
    recorder
        .keep(1, transaction(&"ff".repeat(16), "eeeeeeeeeeeeeeee", None, "http.server", "GET /other", 100.0))
        .await;
    let log = json!({"items": [
        {"timestamp": 100.012, "trace_id": TRACE, "span_id": "cccccccccccccccc", "level": "info", "body": "spun", "attributes": {"reels": {"value": [1, 2], "type": "array"}}},
        {"timestamp": 100.011, "trace_id": "ff".repeat(16), "level": "info", "body": "of another trace"}]});
    let metric = json!({"items": [{"timestamp": 100.013, "trace_id": TRACE, "name": "bets.settled", "type": "counter", "value": 1}]});
    recorder
        .keep(3, format!("{{}}\n{{\"type\":\"log\"}}\n{log}\n{{\"type\":\"trace_metric\"}}\n{metric}\n"))
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
async fn nothing_is_repaired_missing_parents_and_doubles_are_said() {
    let recorder = Recorder::start(&[]).await;
    let orphan =
        transaction(TRACE, "cccccccccccccccc", Some("0123456789abcdef"), "queue.process", "x", 100.0);
    recorder.keep(3, orphan.clone()).await;
    recorder.keep(3, orphan).await;
    let found = trace(&recorder, TRACE).await;
    assert_eq!(found["missing_parents"], json!(["0123456789abcdef"]));
    assert_eq!(found["spans"].as_array().expect("spans").len(), 4);
    assert_eq!(found["duplicates"], json!(["cccccccccccccccc", "cccccccccccccccd"]));
    assert!(recorder.lines("/api/v1/traces").await.is_empty(), "it has no root");
    assert_eq!(recorder.get(&format!("/api/v1/traces/{}", "00".repeat(16))).await.status(), 404);
    assert_eq!(recorder.get("/api/v1/traces/nonsense").await.status(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn streamed_spans_of_the_second_version_are_spans_too() {
    let recorder = Recorder::start(&[]).await;
    let spans = json!({"items": [
        {"trace_id": TRACE, "span_id": "aaaaaaaaaaaaaaaa", "name": "pageload", "status": "ok", "is_segment": true, "start_timestamp": 1.0, "end_timestamp": 2.0,
         "attributes": {"sentry.op": {"value": "pageload", "type": "string"}, "sentry.release": {"value": "web@1", "type": "string"}}},
        {"trace_id": TRACE, "span_id": "bbbbbbbbbbbbbbbb", "parent_span_id": "aaaaaaaaaaaaaaaa", "name": "GET /x", "status": "error", "start_timestamp": 1.2, "end_timestamp": 1.4,
         "attributes": {"sentry.op": {"value": "http.client", "type": "string"}}}]});
    let headers =
        "{\"type\":\"span\",\"item_count\":2,\"content_type\":\"application/vnd.sentry.items.span.v2+json\"}";
    recorder.keep(1, format!("{{}}\n{headers}\n{spans}\n")).await;
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
        (&json!("pageload"), &json!(2), &json!(1))
    );
}
