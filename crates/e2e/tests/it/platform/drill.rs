//! A drill on a whole platform, without a person: faults are seen and end, and the summary has what a report needs.

use serde_json::Value;

use super::{cli, exclusive, output_text, shared};

#[tokio::test]
async fn drill_shows_heals_and_sums_up() {
    // Another load would be seen in the figures.
    let (platform, _guard) = exclusive().await;
    let output = cli(&["drill", "tracing", "--json", "--seed", "7"], None);
    assert_eq!(output.status.code(), Some(0), "{}", output_text(&output));
    let summary: Value = serde_json::from_slice(&output.stdout).expect("a summary");
    assert_eq!((&summary["complete"], &summary["seed"]), (&true.into(), &7.into()), "{summary}");
    let faults = summary["faults"].as_array().expect("faults");
    let ids: Vec<&str> = faults.iter().filter_map(|fault| fault["id"].as_str()).collect();
    assert_eq!(ids, ["consumer.slow", "payment.provider-slow"]);
    for fault in faults {
        assert!(fault["seen_after_s"].is_number() && fault["recovery_s"].is_number(), "{fault}");
        assert!(fault["applied"].as_u64().is_some_and(|count| count > 0), "{fault}");
        let address = fault["addresses"][0].as_str().expect("an address");
        let page = platform.http.get(address).send().await.expect("the recorder answers");
        assert!(page.status().is_success(), "{address}: {}", page.status());
    }
    assert_eq!(summary["money"]["is_clean"], true, "{summary}");
    let status = cli(&["fault", "status", "--json"], None);
    let status: Value = serde_json::from_slice(&status.stdout).expect("a status");
    assert!(status["armed"].as_array().is_some_and(Vec::is_empty), "{status}");
}

#[tokio::test]
async fn releases_have_the_verdicts_of_sentry() {
    let _guard = shared().await;
    let output = cli(&["drill", "release-order", "--json"], None);
    assert_eq!(output.status.code(), Some(0), "{}", output_text(&output));
    let summary: Value = serde_json::from_slice(&output.stdout).expect("a summary");
    let drills = summary["drills"].as_array().expect("drills");
    assert!(drills.len() >= 20, "{summary}");
    for drill in drills {
        assert_eq!((&drill["holds"], &drill["seen"]), (&true.into(), &drill["expected"]), "{drill}");
        assert!(drill["why"].as_str().is_some_and(|why| !why.is_empty()), "{drill}");
    }
}
