//! Alerts over HTTP: a rule fires and is shown, and the alert survives a restart.

use serde_json::{Value, json};

use crate::support::{Recorder, error};

/// Evaluates the rules ten times a second.
const FAST: [(&str, &str); 2] = [("PITBOSS__ALERTS__ENABLED", "true"), ("PITBOSS__ALERTS__ROUND_MS", "100")];

fn dead_letter(at: f64) -> String {
    let attributes =
        json!({"messaging.destination.name": {"value": "casino.bets.commands.v1", "type": "string"}});
    let metric = json!({"timestamp": at, "trace_id": "ab".repeat(16), "type": "counter", "value": 1.0,
        "name": "pitboss.bus.records.dead_lettered", "attributes": attributes});
    format!("{{}}\n{{\"type\":\"trace_metric\",\"item_count\":1}}\n{}\n", json!({"items": [metric]}))
}

fn now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_secs_f64()
}

async fn alerts(recorder: &Recorder) -> Value {
    let response = recorder.get("/api/v1/alerts").await;
    assert_eq!(response.status(), 200);
    response.json().await.expect("JSON")
}

/// Waits until there is an alert of which this holds.
async fn alert(recorder: &Recorder, holds: impl Fn(&Value) -> bool) -> Value {
    let begun = std::time::Instant::now();
    loop {
        let found = alerts(recorder).await;
        if let Some(alert) = found["alerts"].as_array().expect("alerts").iter().find(|alert| holds(alert)) {
            return alert.clone();
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "no such alert: {found}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letter_fires_and_survives_a_restart() {
    let recorder = Recorder::start(&FAST).await;
    recorder.store(3, dead_letter(now())).await;
    let firing = alert(&recorder, |alert| alert["state"] == "firing").await;
    assert_eq!(
        (&firing["id"], &firing["fold"], &firing["severity"]),
        (&json!(1), &json!("backlog"), &json!("high"))
    );
    let entry = &firing["entries"][0];
    assert_eq!((&entry["origin"], &entry["project"]), (&json!({"rule": "dead-letters"}), &json!("game")));
    assert_eq!(
        (&entry["value"], &entry["bound"], &entry["folded_by"]),
        (&json!(1.0), &json!(0.0), &json!("first"))
    );
    assert_eq!(entry["traces"], json!(["ab".repeat(16)]));

    let recorder = Recorder::start_in(recorder.stop().await, &FAST).await;
    let same = alert(&recorder, |alert| alert["id"] == 1).await;
    assert_eq!((&same["state"], &same["count"]), (&json!("firing"), &json!(1)));
    recorder.store(4, dead_letter(now())).await;
    let more = alert(&recorder, |alert| alert["count"] == 2).await;
    assert_eq!((&more["id"], &more["folded"]), (&json!(1), &json!({"first": 1, "cause": 1})));

    let page = recorder.get("/alerts").await.text().await.expect("text");
    assert!(page.contains("Records are late") && page.contains("dead-letters"), "{page}");
    let page = recorder.get("/alerts/1").await.text().await.expect("text");
    assert!(page.contains("cause") && page.contains(&format!("/traces/{}", "ab".repeat(16))), "{page}");
    assert_eq!(recorder.get("/alerts/99").await.status(), 404);
    assert_eq!(recorder.get("/api/v1/alerts/99").await.status(), 404);
    let one: Value = recorder.get("/api/v1/alerts/1").await.json().await.expect("JSON");
    assert_eq!((&one["state"], &one["count"]), (&json!("firing"), &json!(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn new_issues_are_one_alert_that_nothing_ends() {
    let recorder = Recorder::start(&FAST).await;
    for class in ["SpinError", "ReelError", "PayError"] {
        recorder.store(3, error(&"cd".repeat(16), &"12".repeat(8), class, "no", "u1")).await;
    }
    let noted = alert(&recorder, |alert| alert["count"] == 3).await;
    assert_eq!((&noted["state"], &noted["fold"]), (&json!("noted"), &json!("failures")));
    let what: Vec<&str> = noted["entries"]
        .as_array()
        .expect("entries")
        .iter()
        .filter_map(|entry| entry["what"].as_str())
        .collect();
    assert!(what.iter().all(|what| what.starts_with("new issue: ")), "{what:?}");
    let rules = alerts(&recorder).await["rules"].clone();
    let silent = |rule: &Value| rule["phase"] != "firing";
    assert!(rules.as_array().is_some_and(|rules| rules.len() > 20 && rules.iter().all(silent)), "{rules}");
}
