//! Check-ins of the consumers: every group that commits has a monitor, and none is missed.

use std::time::Duration;

use contracts::topics::Group;
use serde_json::Value;
use testkit::eventually;

use super::{Platform, shared};

/// A consumer checks in as soon as it is ready. A test before may have restarted one.
const ARRIVES_WITHIN: Duration = Duration::from_secs(60);

/// State of each monitor of the platform.
async fn monitors(platform: &Platform) -> Vec<(String, String)> {
    let url = format!("{}/api/v1/monitors", platform.recorder_url);
    let answer = platform.http.get(url).send().await.expect("the recorder answers");
    let answer: Value = answer.json().await.expect("JSON");
    let text = |monitor: &Value, name: &str| monitor[name].as_str().expect("a text").to_owned();
    let all = answer["monitors"].as_array().expect("monitors").iter();
    all.map(|monitor| (text(monitor, "monitor"), text(monitor, "state"))).collect()
}

#[tokio::test]
async fn every_consumer_checks_in() {
    let (platform, _lock) = shared().await;
    for group in Group::ALL.iter().filter(|group| group.commits()) {
        let expected = (format!("consumer-{group}"), "ok".to_owned());
        eventually(&expected.0, ARRIVES_WITHIN, || async {
            monitors(platform).await.contains(&expected).then_some(())
        })
        .await;
    }
}
