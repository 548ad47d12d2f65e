//! Dashboards, names, profiles and changes of flags over HTTP, and the pages that show them.

use serde_json::{Value, json};

use crate::support::{Recorder, error, fetch};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const EVIL: &str = "<script>alert(1)</script>\"'>";

fn item(item_type: &str, payload: &Value) -> String {
    format!("{{}}\n{{\"type\":\"{item_type}\"}}\n{payload}\n")
}

/// A failed request that publishes, queries and misses the cache.
fn request(destination: &str) -> Value {
    let place = json!({"messaging.destination.name": destination, "messaging.system": "kafka",
        "messaging.destination.partition.id": "3", "messaging.kafka.offset": 7});
    let query = json!({"db.system": "mongodb", "db.operation": "find", "db.collection.name": "bets"});
    let span = |op: &str, description: &str, data: Value| {
        json!({"trace_id": TRACE, "span_id": "bbbbbbbbbbbbbbbb", "parent_span_id": "aaaaaaaaaaaaaaaa", "op": op,
            "description": description, "status": "ok", "start_timestamp": 100.0, "timestamp": 100.01, "data": data})
    };
    json!({"type": "transaction", "transaction": destination, "start_timestamp": 100.0, "timestamp": 100.02,
        "contexts": {"trace": {"trace_id": TRACE, "span_id": "aaaaaaaaaaaaaaaa", "op": "http.server", "status": "internal_error"}},
        "spans": [span("queue.publish", destination, place), span("db", "{\"find\":\"bets\"}", query),
            span("cache.get", "player:?", json!({"cache.hit": false}))]})
}

async fn answer(recorder: &Recorder, path: &str) -> Value {
    let response = recorder.get(path).await;
    assert_eq!(response.status(), 200, "{path}");
    response.json().await.expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboards_count_what_is_stored() {
    let recorder = Recorder::start(&[]).await;
    let first = recorder.store(1, item("transaction", &request("bets"))).await;
    let queues = answer(&recorder, "/api/v1/dashboards/queues").await;
    let row = &queues["destinations"][0];
    assert_eq!(
        (&row["destination"], &row["published"], &row["processed"]),
        (&json!("bets"), &json!(1), &json!(0))
    );
    assert_eq!(row["error_rate"], 1.0, "by the status of the segment: {row}");
    assert_eq!((&row["flow"]["acknowledged"], &queues["flow_exact"]), (&json!(1), &json!(true)));
    assert_eq!(queues["producers"][0]["transaction"], "bets");
    let queries = answer(&recorder, "/api/v1/dashboards/queries?system=mongodb").await;
    assert_eq!(queries["queries"][0]["description"], "{\"find\":\"bets\"}");
    assert_eq!(queries["queries"][0]["projects"], json!(["gateway"]));
    let caches = answer(&recorder, "/api/v1/dashboards/caches?project=gateway").await;
    assert_eq!(
        (&caches["total"]["miss_rate"], &caches["transactions"][0]["project"]),
        (&json!(1.0), &json!("gateway"))
    );

    let after = answer(&recorder, &format!("/api/v1/dashboards/queues?since={first}")).await;
    assert_eq!((&after["destinations"], &after["envelopes"]), (&json!([]), &json!(0)));
    assert_eq!(recorder.get("/api/v1/dashboards/queues?period_s=0").await.status(), 400);
    let names = answer(&recorder, "/api/v1/names?period_s=3600").await;
    let ops = json!(["cache.get", "db", "http.server", "queue.publish"]);
    assert_eq!(names["services"]["gateway"]["span_ops"], ops);
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboard_pages_escape_text_from_senders() {
    let recorder = Recorder::start(&[]).await;
    let paths = ["queues", "queries", "caches"].map(|name| format!("/dashboards/{name}"));
    for path in &paths {
        assert_eq!(recorder.get(path).await.status(), 200, "an empty {path}");
    }
    recorder.store(1, item("transaction", &request(EVIL))).await;
    for path in paths {
        let response = recorder.get(&path).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        let html = response.text().await.expect("text");
        assert!(!html.contains("<script"), "{path}");
        assert!(html.contains("gateway") && html.contains(&format!("/api/v1{path}?period_s=3600")), "{html}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn profiles_have_shares_even_when_they_are_large() {
    let recorder = Recorder::start(&[]).await;
    // Larger than the recorder reads of a payload that it does not parse.
    let samples: Vec<Value> = (0..4_000)
        .map(|number| json!({"stack_id": number % 2, "thread_id": "1", "elapsed_since_start_ns": format!("{number:020}")}))
        .collect();
    let profile = json!({"version": "1", "platform": "rust", "transaction": {"name": "bets", "trace_id": TRACE},
        "profile": {"samples": samples, "stacks": [[0, 1], [1]], "frames": [{"function": "hunt"}, {"function": "main"}]}});
    let seq = recorder.store(3, item("profile", &profile)).await;
    recorder
        .store(3, item("profile_chunk", &json!({"profiler_id": "p", "profile": {"samples": [1, 2]}})))
        .await;

    let lines = recorder.lines("/api/v1/profiles?project=game").await;
    assert!(lines[0]["payload_bytes"].as_u64().is_some_and(|size| size > 65_536), "{}", lines[0]);
    let facts = ["samples", "trace_id", "transaction_name"].map(|name| &lines[0][name]);
    assert_eq!(facts, [&json!(4_000), &json!(TRACE), &json!("bets")]);
    assert_eq!((&lines[1]["samples"], &lines[1]["profiler_id"]), (&json!(2), &json!("p")));
    let one = answer(&recorder, &format!("/api/v1/profiles/{seq}")).await;
    let functions = &one["profiles"][0]["functions"];
    assert_eq!((&functions[0]["function"], &functions[0]["total_share"]), (&json!("main"), &json!(1.0)));
    assert_eq!((&functions[1]["function"], &functions[1]["self_share"]), (&json!("hunt"), &json!(0.5)));
    assert_eq!(recorder.get("/api/v1/profiles/999").await.status(), 404);
}

/// The change and its signature with the secret `flags`.
const CHANGE: &str = r#"{"data":[{"action":"updated","change_id":7,"created_at":"2026-11-21T11:58:00Z","created_by":{"id":"operator","type":"name"},"flag":"payment.random-failure"}],"meta":{"version":1}}"#;
const CHANGE_SIGNATURE: &str = "d9a026a11f34a95281deb0ddcd91253e0916ad7e90fbfc25f730e63743ed51ab";

#[tokio::test(flavor = "multi_thread")]
async fn signed_flag_change_is_shown_with_an_issue() {
    let recorder = Recorder::start(&[("PITBOSS__SECURITY__FLAG_HOOK_SECRET", "flags")]).await;
    let hook = |provider: &str, signature: &str| {
        let path = format!("/api/0/organizations/pitboss/flags/hooks/provider/{provider}/");
        let request = recorder.client.post(format!("{}{path}", recorder.query));
        request.header("x-sentry-signature", signature).body(CHANGE)
    };
    assert_eq!(fetch(hook("generic", "00")).await.status(), 401);
    assert_eq!(fetch(hook("unleash", CHANGE_SIGNATURE)).await.status(), 404);
    assert!(recorder.lines("/api/v1/flag-changes").await.is_empty());
    assert_eq!(fetch(hook("generic", CHANGE_SIGNATURE)).await.status(), 200);
    let lines = recorder.lines("/api/v1/flag-changes").await;
    assert_eq!((lines.len(), &lines[0]["flag"]), (1, &json!("payment.random-failure")));

    // Its event is of 12:00:00, two minutes after the change.
    recorder.store(4, error(TRACE, "cccccccccccccccc", "Declined", "no", "anna")).await;
    let issue = recorder.lines("/api/v1/issues").await[0]["id"].as_str().expect("an id").to_owned();
    let html = recorder.get(&format!("/issues/{issue}")).await.text().await.expect("text");
    assert!(html.contains("Flags changed just before") && html.contains("payment.random-failure"), "{html}");
    assert!(recorder.lines("/api/v1/traces").await.len() <= 1, "a change is not a part of a trace");
}

#[tokio::test(flavor = "multi_thread")]
async fn runtime_of_each_service_is_shown() {
    let recorder = Recorder::start(&[]).await;
    let metrics = |values: &[(&str, f64, f64)]| {
        let entry = |(name, at, value): &(&str, f64, f64)| json!({"timestamp": at, "trace_id": TRACE, "name": format!("pitboss.{name}"), "type": "gauge", "value": value});
        item("trace_metric", &json!({"items": values.iter().map(entry).collect::<Vec<_>>()}))
    };
    let game = [
        ("runtime.workers", 100.0, 1.0),
        ("runtime.tasks.alive", 110.0, 40.0),
        ("runtime.tasks.alive", 100.0, 70.0),
        ("process.memory.resident", 110.0, 3_145_728.0),
        ("process.cpu.time", 100.0, 500.0),
        ("process.cpu.time", 110.0, 1_500.0),
        ("bets.in_flight", 110.0, 12.0),
    ];
    recorder.store(3, metrics(&game)).await;
    recorder.store(4, metrics(&[("runtime.queue.depth", 100.0, 2.0)])).await;
    recorder.store(1, metrics(&[("bets.in_flight", 100.0, 2.0)])).await;

    let found = answer(&recorder, "/api/v1/dashboards/runtime").await;
    let services = found["services"].as_array().expect("services");
    assert_eq!(services.len(), 2, "gateway sent none of these metrics: {found}");
    let expected = json!({"project": "game", "workers": 1.0, "tasks_alive": {"last": 40.0, "max": 70.0},
        "queue_depth": {"last": null, "max": null}, "memory_bytes": {"last": 3_145_728.0, "max": 3_145_728.0},
        "cpu_share": 0.2});
    assert_eq!(services[0], expected);
    assert_eq!(services[1]["queue_depth"]["max"], 2.0);
    assert_eq!(services[1]["cpu_share"], Value::Null);

    let html = recorder.get("/dashboards/runtime?period_s=900").await.text().await.expect("text");
    for text in ["game", "3.0 MiB", "class=\"num wide\">70<"] {
        assert!(html.contains(text), "{text} in {html}");
    }
}
