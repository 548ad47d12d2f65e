//! Changes of faults reach the recorder as signed records, in their order and each once.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::eventually;

use super::trace_from_envelopes::last_seq;
use super::{Platform, cli, operator_token, output_text, shared};

const ARRIVES_WITHIN: Duration = Duration::from_secs(60);
const FAULT: &str = "analytics.n-plus-one";

/// The recorded changes of the fault since a moment.
async fn changes(platform: &Platform, since: u64) -> Vec<Value> {
    let url = format!("{}/api/v1/flag-changes?since={since}", platform.recorder_url);
    let answer = platform.http.get(url).send().await.expect("the recorder answers");
    let text = answer.text().await.expect("text");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.filter(|change| change["flag"] == FAULT).collect()
}

fn fault(args: &[&str]) {
    let output = cli(&[&["fault"], args].concat(), None);
    assert!(output.status.success(), "{}", output_text(&output));
}

/// Changes the armed fault as an operator without the command line does.
async fn change_by_api(platform: &Platform) {
    let body = json!({ "scope": { "player": "nobody" }, "values": { "bets_max": 7 }, "for_s": 120 });
    let request = platform.http.put(format!("{}/api/v1/faults/{FAULT}", platform.gateway_url));
    let request = request.header("x-operator-token", operator_token()).json(&body);
    let answer = request.send().await.expect("answered");
    let (status, text) = (answer.status(), answer.text().await);
    assert!(status.is_success(), "{status}: {text:?}");
}

#[tokio::test]
async fn each_change_of_a_fault_is_recorded_once() {
    // Tests that arm faults, or disarm all, have the platform alone.
    let (platform, _lock) = shared().await;
    let since = last_seq(platform).await;
    for (number, action) in ["created", "updated", "deleted"].into_iter().enumerate() {
        match action {
            // For a player who does not exist. The fault expires if this test fails.
            "created" => fault(&["on", FAULT, "--player", "nobody", "--for", "120"]),
            "updated" => change_by_api(platform).await,
            _ => fault(&["off", FAULT]),
        }
        let found = eventually(action, ARRIVES_WITHIN, || async {
            let changes = changes(platform, since).await;
            (changes.len() > number).then_some(changes)
        })
        .await;
        assert_eq!((found.len(), &found[number]["action"]), (number + 1, &json!(action)), "{found:#?}");
        assert_eq!(found[number]["created_by"], json!({ "id": "operator", "type": "name" }));
    }
    let ids: Vec<i64> =
        changes(platform, since).await.iter().filter_map(|c| c["change_id"].as_i64()).collect();
    assert!(ids.len() == 3 && ids.is_sorted_by(|a, b| a < b), "{ids:?}");
}
