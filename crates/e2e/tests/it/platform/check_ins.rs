//! Check-ins: every group that commits and every periodic job has a monitor, and none is missed.

use std::time::Duration;

use contracts::topics::Group;
use serde_json::Value;
use testkit::eventually;

use super::{Platform, shared};

/// A consumer checks in as soon as it is ready. A test before may have restarted one.
const ARRIVES_WITHIN: Duration = Duration::from_secs(60);

/// A job checks in at its first success, and then once a minute. A test before may have deleted the stored envelopes.
const JOB_ARRIVES_WITHIN: Duration = Duration::from_secs(150);
/// The periodic jobs of the services.
const JOBS: [&str; 10] = [
    "analytics-rollups",
    "analytics-takeover",
    "game-sweeper",
    "gateway-admission",
    "lagwatch-watch",
    "notification-courier",
    "payment-provider",
    "payment-sweeper",
    "payment-trim",
    "user-sweeper",
];

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

#[tokio::test]
async fn every_job_checks_in() {
    let (platform, _lock) = shared().await;
    for job in JOBS {
        let expected = (format!("job-{job}"), "ok".to_owned());
        eventually(&expected.0, JOB_ARRIVES_WITHIN, || async {
            monitors(platform).await.contains(&expected).then_some(())
        })
        .await;
    }
}
