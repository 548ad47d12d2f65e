//! Search of log entries: by trace, level, attribute, service and text, newest first, page by page.

use serde_json::{Value, json};

use crate::support::{Recorder, transaction};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn entry(body: &str, level: &str, trace: &str, attempt: u64) -> Value {
    json!({"timestamp": 100.5, "trace_id": trace, "level": level, "body": body,
        "attributes": {"pitboss.attempt": {"value": attempt, "type": "integer"}, "kind": {"value": "bet", "type": "string"}}})
}

fn logs(entries: &[Value]) -> String {
    format!("{{}}\n{{\"type\":\"log\"}}\n{}\n", json!({"items": entries}))
}

async fn found(recorder: &Recorder, parameters: &str) -> Value {
    let response = recorder.get(&format!("/api/v1/logs/search?{parameters}")).await;
    assert_eq!(response.status(), 200, "{parameters}");
    response.json().await.expect("JSON")
}

fn bodies(found: &Value) -> Vec<&str> {
    let logs = found["logs"].as_array().expect("logs").iter();
    logs.map(|log| log["body"].as_str().expect("a text")).collect()
}

/// Three envelopes of two services with five entries.
async fn filled() -> Recorder {
    let recorder = Recorder::start(&[]).await;
    let other = "ab".repeat(16);
    let first = [entry("bet accepted", "info", TRACE, 1), entry("Retrying the publish", "warn", &other, 2)];
    recorder.store(3, logs(&first)).await;
    recorder.store(4, logs(&[entry("ledger row written", "info", TRACE, 3)])).await;
    let last = [entry("bet refused", "error", &other, 4), entry("bet settled", "info", TRACE, 12)];
    recorder.store(3, logs(&last)).await;
    recorder
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_found_by_each_filter_newest_first() {
    let recorder = filled().await;
    let (of_trace, of_both) = (format!("trace={TRACE}"), format!("trace={TRACE}&project=payment"));
    for (parameters, expected) in [
        (
            "",
            vec!["bet settled", "bet refused", "ledger row written", "Retrying the publish", "bet accepted"],
        ),
        (of_trace.as_str(), vec!["bet settled", "ledger row written", "bet accepted"]),
        ("level=INFO", vec!["bet settled", "ledger row written", "bet accepted"]),
        ("project=payment", vec!["ledger row written"]),
        ("text=retrying+THE", vec!["Retrying the publish"]),
        ("attribute=pitboss.attempt%3D12", vec!["bet settled"]),
        ("attribute=pitboss.attempt%3D1", vec!["bet accepted"]),
        ("attribute=kind&text=bet&level=info&project=game", vec!["bet settled", "bet accepted"]),
        (of_both.as_str(), vec!["ledger row written"]),
        ("attribute=unknown", vec![]),
    ] {
        let found = found(&recorder, parameters).await;
        assert_eq!(bodies(&found), expected, "{parameters}");
        assert_eq!((&found["truncated"], found.get("next")), (&json!(false), None), "{parameters}");
    }
    let long = format!("text={}", "x".repeat(1_001));
    for (wrong, why) in [
        ("trace=nonsense", "32 hexadecimal digits"),
        ("before=x", "next"),
        ("project=unknown", "unknown"),
        (long.as_str(), "1000 bytes"),
        ("level=warning", "trace, debug, info, warn, error, fatal"),
        ("trace_id=0af7651916cd43dd8448eb211c80319c", "`trace_id`"),
    ] {
        let response = recorder.get(&format!("/api/v1/logs/search?{wrong}")).await;
        assert_eq!(response.status(), 400, "{wrong}");
        let problem: Value = response.json().await.expect("JSON");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(why)), "{problem}");
    }
    let unknown = recorder.get("/api/v1/logs/search?project=unknown").await.text().await.expect("text");
    assert!(unknown.contains("there are gateway, user, game"), "{unknown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_have_every_entry_once() {
    let recorder = filled().await;
    for (filter, limit) in
        [("", 1), ("", 2), ("", 3), ("&level=info", 2), ("&trace=0af7651916cd43dd8448eb211c80319c", 1)]
    {
        let whole = found(&recorder, filter).await;
        let (mut paged, mut before) = (Vec::new(), String::new());
        loop {
            let page = found(&recorder, &format!("limit={limit}&before={before}{filter}")).await;
            assert!(bodies(&page).len() <= limit, "{page}");
            paged.extend(bodies(&page).into_iter().map(str::to_owned));
            match page["next"].as_str() {
                Some(next) => before = next.to_owned(),
                None => break,
            }
        }
        assert_eq!(paged, bodies(&whole), "{limit} {filter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn newest_entries_of_a_long_trace_are_found() {
    let recorder = Recorder::start(&[]).await;
    // More than are fetched from the index at a time.
    const ENVELOPES: u64 = 201;
    for number in 0..ENVELOPES {
        recorder.store(3, logs(&[entry(&number.to_string(), "info", TRACE, number)])).await;
    }
    let root = transaction(TRACE, "aaaaaaaaaaaaaaaa", None, "http.server", "GET /", 1.0);
    recorder.store(3, root).await;
    let newest = found(&recorder, &format!("trace={TRACE}&limit=1")).await;
    assert_eq!((bodies(&newest), &newest["envelopes"]), (vec!["200"], &json!(1)), "only logs are read");
    let all = found(&recorder, &format!("trace={TRACE}&limit=1000")).await;
    let expected: Vec<String> = (0..ENVELOPES).rev().map(|number| number.to_string()).collect();
    assert_eq!(bodies(&all), expected);
    assert_eq!((&all["truncated"], &all["envelopes"]), (&json!(false), &json!(ENVELOPES)));
}

#[tokio::test(flavor = "multi_thread")]
async fn page_shows_entries_and_continues() {
    let recorder = filled().await;
    let response = recorder.get("/logs?limit=2&project=game&trace=&text=bet+").await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
    let html = response.text().await.expect("text");
    for text in ["bet settled", "bet refused", "pitboss.attempt", "before=", &format!("/traces/{TRACE}")] {
        assert!(html.contains(text), "{text} in {html}");
    }
    assert!(!html.contains("bet accepted") && !html.contains("ledger row"), "{html}");
}
