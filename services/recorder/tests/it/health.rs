//! Release health: crash-free sessions and users, and adoption, as Sentry computes them.

use serde_json::{Value, json};

use crate::support::Recorder;

/// The sum of a minute of requests.
fn sums(release: &str, environment: &str, exited: u64, errored: u64, crashed: u64) -> String {
    let attributes = json!({"release": release, "environment": environment});
    let aggregate =
        json!({"started": "2026-11-21T12:00:00Z", "exited": exited, "errored": errored, "crashed": crashed});
    let payload = json!({"aggregates": [aggregate], "attrs": attributes});
    format!("{{}}\n{{\"type\":\"sessions\"}}\n{payload}\n")
}

/// An update of one session.
fn update(release: &str, sid: &str, did: &str, status: &str) -> String {
    let payload = json!({"sid": sid, "did": did, "status": status, "init": true,
        "attrs": {"release": release, "environment": "prod"}});
    format!("{{}}\n{{\"type\":\"session\"}}\n{payload}\n")
}

async fn health(recorder: &Recorder, parameters: &str) -> Value {
    let response = recorder.get(&format!("/api/v1/release-health?{parameters}")).await;
    assert_eq!(response.status(), 200, "{parameters}");
    response.json().await.expect("JSON")
}

/// The release in the environment, which has to be listed once.
fn of<'a>(health: &'a Value, release: &str, environment: &str) -> &'a Value {
    let releases = health["releases"].as_array().expect("releases").iter();
    let mut found = releases.filter(|row| row["release"] == release && row["environment"] == environment);
    let row = found.next().expect("the release");
    assert!(found.next().is_none(), "{health}");
    row
}

fn is_near(value: &Value, expected: f64) {
    let value = value.as_f64().expect("a number");
    assert!((value - expected).abs() < 1e-9, "{value} is not {expected}");
}

#[tokio::test(flavor = "multi_thread")]
async fn adoption_is_a_share_of_the_environment() {
    let recorder = Recorder::start(&[]).await;
    recorder.store(3, sums("game@1.0.0", "prod", 1_800, 15, 5)).await;
    recorder.store(3, sums("game@1.1.0", "prod", 180, 0, 0)).await;
    recorder.store(3, sums("game@1.1.0", "canary", 7, 0, 1)).await;
    // Another project has the same environment.
    recorder.store(4, sums("payment@9.0.0", "prod", 1_000, 0, 0)).await;

    let all = health(&recorder, "").await;
    assert_eq!(all["releases"].as_array().map(Vec::len), Some(4), "{all}");
    let old = of(&all, "game@1.0.0", "prod");
    assert_eq!([&old["sessions"], &old["sessions_errored"], &old["sessions_crashed"]], [1_820, 15, 5]);
    is_near(&old["crash_free_sessions"], 1.0 - 5.0 / 1_820.0);
    is_near(&old["adoption_sessions"], 0.91);
    let new = of(&all, "game@1.1.0", "prod");
    is_near(&new["adoption_sessions"], 0.09);
    assert_eq!([&old["stage"], &new["stage"]], ["adopted", "low_adoption"]);
    is_near(&of(&all, "game@1.1.0", "canary")["adoption_sessions"], 1.0);
    assert_eq!(old["crash_free_users"], Value::Null, "no session names a user");
    assert_eq!(all["truncated"], false);

    let one = health(&recorder, "project=payment").await;
    assert_eq!(one["releases"].as_array().map(Vec::len), Some(1), "{one}");
    recorder.store(3, sums("game@1.1.0", "prod", 20, 0, 0)).await;
    recorder.store(3, sums("game@1.1.0", "prod", 3, 0, 0)).await;
    assert_eq!(of(&health(&recorder, "").await, "game@1.1.0", "prod")["stage"], "adopted");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_count_once_and_a_crash_is_final() {
    let recorder = Recorder::start(&[]).await;
    for body in [
        update("game@1.0.0", "s1", "anna", "ok"),
        update("game@1.0.0", "s1", "anna", "crashed"),
        update("game@1.0.0", "s1", "anna", "exited"),
        update("game@1.0.0", "s2", "anna", "exited"),
        update("game@1.0.0", "s3", "ben", "exited"),
        update("game@1.1.0", "s4", "ben", "exited"),
        update("game@1.1.0", "s5", "carl", "abnormal"),
    ] {
        recorder.store(3, body).await;
    }
    let all = health(&recorder, "").await;
    let (old, new) = (of(&all, "game@1.0.0", "prod"), of(&all, "game@1.1.0", "prod"));
    assert_eq!([&old["sessions"], &old["users"], &old["users_crashed"]], [3, 2, 1]);
    is_near(&old["crash_free_users"], 0.5);
    is_near(&old["crash_free_sessions"], 2.0 / 3.0);
    // Of three users, ben used both releases.
    is_near(&old["adoption_users"], 2.0 / 3.0);
    is_near(&new["adoption_users"], 2.0 / 3.0);
    assert_eq!([&new["sessions_abnormal"], &new["sessions_crashed"]], [1, 0]);
    let listed = recorder.lines("/api/v1/releases").await;
    assert_eq!(listed.len(), 2, "{listed:?}");
    for line in &listed {
        let of_the_day = of(&all, line["release"].as_str().expect("a name"), "prod");
        for name in ["sessions", "sessions_crashed", "sessions_abnormal", "users", "users_crashed"] {
            assert_eq!(line[name], of_the_day[name], "{name} of the listing and of the day: {line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn session_is_one_with_and_without_hyphens() {
    let recorder = Recorder::start(&[]).await;
    recorder.store(3, update("game@1.0.0", "9ec79c33-ec99-42ab-8353-589fcb2e04dc", "anna", "ok")).await;
    recorder.store(3, update("game@1.0.0", "9EC79C33EC9942AB8353589FCB2E04DC", "anna", "crashed")).await;
    let all = health(&recorder, "").await;
    let row = of(&all, "game@1.0.0", "prod");
    assert_eq!([&row["sessions"], &row["sessions_crashed"]], [1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn clock_chooses_the_day() {
    let recorder = Recorder::start(&[]).await;
    recorder.store(3, sums("game@1.0.0", "prod", 10, 0, 0)).await;
    let envelopes = recorder.lines("/api/v1/envelopes").await;
    let received_at = envelopes[0]["received_at"].as_f64().expect("a time");
    let day = 24.0 * 60.0 * 60.0;
    for (at, expected) in [
        (received_at - 1.0, 0),
        (received_at + 1.0, 1),
        (received_at + day - 1.0, 1),
        (received_at + day + 1.0, 0),
    ] {
        let health = health(&recorder, &format!("at={at}")).await;
        assert_eq!(health["releases"].as_array().map(Vec::len), Some(expected), "{at}");
    }
    for wrong in ["at=-1", "at=NaN", "at=x", "project=unknown"] {
        let path = format!("/api/v1/release-health?{wrong}");
        assert_eq!(recorder.get(&path).await.status(), 400, "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn page_shows_each_release() {
    let recorder = Recorder::start(&[]).await;
    let empty = recorder.get("/releases").await.text().await.expect("text");
    assert!(empty.contains("No session in this day"), "{empty}");
    recorder.store(3, sums("game@<b>1", "prod", 3, 0, 1)).await;
    let html = recorder.get("/releases?project=game").await.text().await.expect("text");
    for text in ["75.00 %", "100.00 %", "adopted", "prod"] {
        assert!(html.contains(text), "{text} in {html}");
    }
    assert!(!html.contains("<b>1"), "{html}");
}
