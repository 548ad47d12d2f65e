//! Coverage of the declared names: what the platform sent is in `schemas/names.json`. `verify` meets every fault, so it also compares
//! the other way round: each declared name is sent.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use testkit::eventually;

use super::{CURRENCY, Platform, bet_with_result, console, shared};
use crate::workspace::names::{self, Names};

/// Long enough for metrics and logs, which are sent every few seconds.
const ARRIVES_WITHIN: Duration = Duration::from_secs(60);

fn set(value: &Value) -> BTreeSet<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The names that all services sent since the platform started.
async fn emitted(platform: &Platform) -> Names {
    let url = format!("{}/api/v1/names", platform.recorder_url);
    let answer = platform.http.get(url).send().await.expect("the recorder answers");
    assert!(answer.status().is_success(), "{}", answer.status());
    let answer: Value = answer.json().await.expect("JSON");
    let mut all = Names::default();
    for (service, names) in answer["services"].as_object().expect("services") {
        assert_eq!(names["left_out"], 0, "{service} has too many names");
        all.extend(Names {
            span_ops: set(&names["span_ops"]),
            span_attributes: set(&names["span_attributes"]),
            log_fields: set(&names["log_fields"]),
            metrics: set(&names["metrics"]),
            metric_labels: set(&names["metric_labels"]),
        });
    }
    all
}

#[tokio::test]
async fn nothing_undeclared_is_emitted() {
    let (platform, _lock) = shared().await;
    let player = console::player(platform, CURRENCY).await;
    bet_with_result(platform, &player, 100, CURRENCY).await;

    let emitted = eventually("names of every kind", ARRIVES_WITHIN, || async {
        let names = emitted(platform).await;
        let has_all = names.kinds().values().all(|names| !names.is_empty());
        (has_all && names.metrics.contains("pitboss.bets.settled")).then_some(names)
    })
    .await;
    names::add_if_asked(emitted.clone());
    let declared = names::declared();
    let undeclared = emitted.missing_in(&declared);
    assert!(undeclared.is_empty(), "not in schemas/names.json (UPDATE_SCHEMAS=1 adds them): {undeclared:#?}");
}
