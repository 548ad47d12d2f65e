//! Issues are resolved, opened again and archived as in Sentry, and their states survive a restart and a lost index.

use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Recorder, fetch, key, transaction};

/// Project of the events.
const GAME: u32 = 3;

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs_f64()
}

/// Returns an event of one issue. Events of different minutes are far enough apart to be no races.
fn event(release: Option<&str>, minute: f64) -> String {
    event_at(release, now() + minute * 60.0)
}

fn event_at(release: Option<&str>, timestamp: f64) -> String {
    let event_id = uuid::Uuid::new_v4().simple().to_string();
    let payload = json!({"event_id": event_id, "timestamp": timestamp, "release": release,
        "exception": {"values": [{"type": "ReelError", "value": "stuck"}]}});
    format!("{{\"event_id\":\"{event_id}\"}}\n{{\"type\":\"event\"}}\n{payload}\n")
}

/// Returns an envelope that does nothing but name a release.
fn naming(release: &str) -> String {
    let transaction = transaction(&"ab".repeat(16), "aaaaaaaaaaaaaaaa", None, "http.server", "GET /", 1.0);
    transaction.replace("pitboss@1.0.0", release)
}

/// Returns the only issue.
async fn issue(recorder: &Recorder) -> Value {
    let issues = recorder.lines("/api/v1/issues").await;
    assert_eq!(issues.len(), 1);
    let path = format!("/api/v1/issues/{}", issues[0]["id"].as_str().expect("an id"));
    let detail: Value = recorder.get(&path).await.json().await.expect("JSON");
    for member in ["status", "substatus", "statusDetails", "status_since", "first_release"] {
        assert_eq!(issues[0][member], detail[member], "the list says the same");
    }
    detail
}

async fn put(recorder: &Recorder, body: &Value) -> (u16, Value) {
    let id = issue(recorder).await["id"].as_str().expect("an id").to_owned();
    let request = recorder.operator_request(Method::PUT, &format!("/api/v1/issues/{id}"));
    let response = fetch(request.body(body.to_string())).await;
    (response.status().as_u16(), response.json().await.expect("JSON"))
}

async fn change(recorder: &Recorder, body: Value) -> Value {
    let (status, changed) = put(recorder, &body).await;
    assert_eq!(status, 200, "{changed}");
    changed
}

async fn delete_release(recorder: &Recorder, release: &str) -> u16 {
    let path = format!("/api/v1/releases?project=game&release={release}&by=anna");
    fetch(recorder.operator_request(Method::DELETE, &path)).await.status().as_u16()
}

fn state(issue: &Value) -> (&str, &str) {
    (issue["status"].as_str().expect("a status"), issue["substatus"].as_str().unwrap_or_default())
}

fn kinds(issue: &Value) -> Vec<&str> {
    let activity = issue["activity"].as_array().expect("activity");
    activity.iter().map(|entry| entry["type"].as_str().expect("a type")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_release_of_the_repair_regresses_its_issue() {
    let recorder = Recorder::start(&[]).await;
    recorder.store(GAME, event(Some("g@1.0.0"), -30.0)).await;
    recorder.store(GAME, naming("g@1.1.0")).await;
    let found = issue(&recorder).await;
    assert_eq!((state(&found), kinds(&found)), (("unresolved", "new"), vec!["first_seen"]));
    assert_eq!(found["first_release"], "g@1.0.0");

    let details = json!({"inRelease": "latest"});
    let body = json!({"status": "resolved", "statusDetails": details, "by": "anna"});
    let resolved = change(&recorder, body).await;
    assert_eq!(state(&resolved), ("resolved", ""));
    assert_eq!(resolved["statusDetails"], json!({"inRelease": "g@1.1.0"}));
    assert_eq!(resolved["activity"][1]["by"], "anna");
    let outlook: Vec<(&Value, &Value)> = resolved["outlook"]
        .as_array()
        .expect("an outlook")
        .iter()
        .map(|line| (&line["release"], &line["regresses"]))
        .collect();
    assert_eq!(outlook, [(&json!("g@1.1.0"), &json!(true)), (&json!("g@1.0.0"), &json!(false))]);

    recorder.store(GAME, event(Some("g@1.0.0"), 0.0)).await;
    let old_client = issue(&recorder).await;
    assert_eq!((state(&old_client), &old_client["count"]), (("resolved", ""), &json!(2)));
    recorder.store(GAME, event(Some("g@1.1.0"), 1.0)).await;
    let regressed = issue(&recorder).await;
    assert_eq!(state(&regressed), ("unresolved", "regressed"));
    assert_eq!(kinds(&regressed), ["first_seen", "set_resolved_in_release", "set_regression"]);
    let entry = &regressed["activity"][2];
    assert_eq!((&entry["version"], &entry["event_id"]), (&json!("g@1.1.0"), &regressed["last_event_id"]));
    assert!(entry["why"].as_str().is_some_and(|why| why.contains("should have the repair")), "{entry}");
    let path = format!("/issues/{}", regressed["id"].as_str().expect("an id"));
    let html = recorder.get(&path).await.text().await.expect("text");
    assert!(html.contains("<b>regressed</b>") && html.contains("should have the repair"), "{html}");

    let directory = recorder.stop().await;
    let recorder = Recorder::start_in(directory, &[]).await;
    assert_eq!(issue(&recorder).await, regressed, "after a restart");
    let directory = recorder.stop().await;
    std::fs::remove_file(directory.path().join("data/index.sqlite")).expect("an index");
    let recorder = Recorder::start_in(directory, &[]).await;
    assert_eq!(issue(&recorder).await, regressed, "from the journal alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn issue_resolved_in_the_next_release_waits_for_it() {
    let recorder = Recorder::start(&[]).await;
    recorder.store(GAME, event(Some("aaaa"), -30.0)).await;
    let body = json!({"status": "resolved", "statusDetails": {"inNextRelease": true}});
    let pending = change(&recorder, body).await;
    assert_eq!(pending["statusDetails"], json!({"inNextRelease": true, "afterRelease": "aaaa"}));
    recorder.store(GAME, event(Some("aaaa"), 0.0)).await;
    recorder.store(GAME, event(None, 0.0)).await;
    assert_eq!(state(&issue(&recorder).await), ("resolved", ""));

    recorder.store(GAME, naming("bbbb")).await;
    let complete = issue(&recorder).await;
    assert_eq!(complete["statusDetails"], json!({"inRelease": "bbbb", "afterRelease": "aaaa"}));
    recorder.store(GAME, event(Some("bbbb"), 1.0)).await;
    assert_eq!(state(&issue(&recorder).await), ("unresolved", "regressed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn event_that_is_sent_again_happens_once() {
    let recorder = Recorder::start(&[]).await;
    let first = event(Some("g@1.0.0"), -30.0);
    recorder.store(GAME, first.clone()).await;
    assert_eq!(state(&change(&recorder, json!({"status": "resolved"})).await), ("resolved", ""));
    recorder.store(GAME, first).await;
    assert_eq!(state(&issue(&recorder).await), ("resolved", ""), "it happened before");
    let release = recorder.lines("/api/v1/releases").await.remove(0);
    assert_eq!((&release["release"], &release["errors"]), (&json!("g@1.0.0"), &json!(1)));
    recorder.store(GAME, event(Some("g@1.0.0"), 0.0)).await;
    assert_eq!(state(&issue(&recorder).await), ("unresolved", "regressed"), "a plain resolve has no release");
    assert_eq!(recorder.lines("/api/v1/releases").await[0]["errors"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn archived_issue_opens_after_its_events() {
    let recorder = Recorder::start(&[]).await;
    recorder.store(GAME, event(None, -30.0)).await;
    let body = json!({"status": "ignored", "statusDetails": {"ignoreCount": 2}});
    let archived = change(&recorder, body).await;
    assert_eq!(state(&archived), ("ignored", "archived_until_condition_met"));
    recorder.store(GAME, event(None, 0.0)).await;
    assert_eq!(issue(&recorder).await["statusDetails"], json!({"ignoreCount": 1}));
    recorder.store(GAME, event(None, 0.0)).await;
    assert_eq!(state(&issue(&recorder).await), ("unresolved", "escalating"));

    let forever = change(&recorder, json!({"status": "ignored"})).await;
    assert_eq!(state(&forever), ("ignored", "archived_forever"));
    let opened = change(&recorder, json!({"status": "unresolved"})).await;
    assert_eq!(state(&opened), ("unresolved", "new"), "it was first seen today");
}

#[tokio::test(flavor = "multi_thread")]
async fn archived_issue_opens_when_it_escalates() {
    let recorder = Recorder::start(&[]).await;
    recorder.store(GAME, event(None, -30.0)).await;
    let body = json!({"status": "ignored", "substatus": "archived_until_escalating"});
    let archived = change(&recorder, body).await;
    assert_eq!(state(&archived), ("ignored", "archived_until_escalating"));
    // One event in an hour of the last week, so ten are forecast. The clock may reach the next hour on the way.
    for _ in 0..21 {
        if state(&issue(&recorder).await).0 == "unresolved" {
            break;
        }
        recorder.store(GAME, event(None, 0.0)).await;
    }
    let escalated = issue(&recorder).await;
    assert_eq!(state(&escalated), ("unresolved", "escalating"));
    assert_eq!(kinds(&escalated), ["first_seen", "set_ignored", "set_escalating"]);
    let why = escalated["activity"][2]["why"].as_str().expect("a reason");
    assert_eq!(why, "11 events in an hour are more than the 10 that were forecast");
}

async fn set_release(recorder: &Recorder, body: Value) -> u16 {
    let request = recorder.operator_request(Method::PUT, "/api/v1/releases");
    fetch(request.body(body.to_string())).await.status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn commit_resolves_with_its_release() {
    let recorder = Recorder::start(&[]).await;
    recorder.store(GAME, event(Some("g@1.0.0"), -30.0)).await;
    let in_commit = json!({"status": "resolved", "statusDetails": {"inCommit": {"commit": "4B2D423"}}});
    let waiting = change(&recorder, in_commit).await;
    assert_eq!(
        (state(&waiting), &waiting["statusDetails"]),
        (("resolved", ""), &json!({"inCommit": "4b2d423"}))
    );
    recorder.store(GAME, event(Some("g@1.0.0"), 0.0)).await;
    assert_eq!(state(&issue(&recorder).await), ("resolved", ""), "no release has the commit yet");

    let release = json!({"project": "game", "version": "g@1.1.0", "commits": [{"id": "4b2d423"}]});
    assert_eq!(set_release(&recorder, release).await, 204);
    let resolved = issue(&recorder).await;
    assert_eq!(resolved["statusDetails"], json!({"inRelease": "g@1.1.0"}));
    assert_eq!(kinds(&resolved), ["first_seen", "set_resolved_in_commit", "set_resolved_in_release"]);
    recorder.store(GAME, event(Some("g@1.0.0"), 0.0)).await;
    assert_eq!(state(&issue(&recorder).await), ("resolved", ""), "an older release");
    recorder.store(GAME, event(Some("g@1.1.0"), 0.0)).await;
    assert_eq!(state(&issue(&recorder).await), ("unresolved", "regressed"));
    let again = json!({"status": "resolved", "statusDetails": {"inCommit": {"commit": "4b2d423"}}});
    assert_eq!(change(&recorder, again).await["statusDetails"], json!({"inRelease": "g@1.1.0"}));

    let before = issue(&recorder).await;
    let directory = recorder.stop().await;
    std::fs::remove_file(directory.path().join("data/index.sqlite")).expect("an index");
    let recorder = Recorder::start_in(directory, &[]).await;
    assert_eq!(issue(&recorder).await, before, "a lost index decides the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn date_of_a_release_decides() {
    let recorder = Recorder::start(&[]).await;
    recorder.store(GAME, event(Some("aaaa"), -30.0)).await;
    recorder.store(GAME, naming("bbbb")).await;
    let in_first = json!({"status": "resolved", "statusDetails": {"inRelease": "aaaa"}});
    change(&recorder, in_first).await;
    let dated = json!({"project": "game", "version": "bbbb", "dateReleased": "2020-01-01T00:00:00Z"});
    assert_eq!(set_release(&recorder, dated).await, 204);
    recorder.store(GAME, event(Some("bbbb"), 0.0)).await;
    assert_eq!(state(&issue(&recorder).await), ("resolved", ""), "it was released before");
    for refused in [json!({"project": "game"}), json!({"project": "nobody", "version": "x"})] {
        assert_eq!(set_release(&recorder, refused.clone()).await, 400, "{refused}");
    }
    let url = format!("{}/api/v1/releases", recorder.query);
    assert_eq!(fetch(recorder.client.put(&url).body("{}")).await.status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn date_makes_a_known_release_the_next_one() {
    let recorder = Recorder::start(&[]).await;
    recorder.store(GAME, naming("aaaa")).await;
    recorder.store(GAME, event(Some("bbbb"), -30.0)).await;
    let in_next = json!({"status": "resolved", "statusDetails": {"inNextRelease": true}});
    let pending = change(&recorder, in_next).await;
    assert_eq!(pending["statusDetails"], json!({"inNextRelease": true, "afterRelease": "bbbb"}));
    let dated = json!({"project": "game", "version": "aaaa", "dateReleased": "2100-01-01T00:00:00Z"});
    assert_eq!(set_release(&recorder, dated).await, 204);
    let complete = issue(&recorder).await;
    assert_eq!(complete["statusDetails"], json!({"inRelease": "aaaa", "afterRelease": "bbbb"}));
    recorder.store(GAME, event(Some("aaaa"), 0.0)).await;
    assert_eq!(state(&issue(&recorder).await), ("unresolved", "regressed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_release_is_no_repair_any_more() {
    let recorder = Recorder::start(&[]).await;
    recorder.store(GAME, event(Some("g@1.0.0"), -30.0)).await;
    recorder.store(GAME, naming("g@1.1.0")).await;
    let in_release = json!({"status": "resolved", "statusDetails": {"inRelease": "g@1.1.0"}});
    change(&recorder, in_release).await;
    assert_eq!(delete_release(&recorder, "g@1.0.0").await, 409, "the issue was first seen in it");
    assert_eq!(delete_release(&recorder, "g@9.9.9").await, 404);
    assert_eq!(delete_release(&recorder, "g@1.1.0").await, 204);
    assert_eq!(delete_release(&recorder, "g@1.1.0").await, 404, "it is deleted already");
    let left = issue(&recorder).await;
    assert_eq!((state(&left), &left["statusDetails"]), (("resolved", ""), &json!({})));
    assert_eq!(kinds(&left).last(), Some(&"release_deleted"));
    recorder.store(GAME, event(Some("g@1.0.0"), 0.0)).await;
    assert_eq!(state(&issue(&recorder).await), ("unresolved", "regressed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn old_issue_is_ongoing() {
    let recorder = Recorder::start(&[]).await;
    recorder.store(GAME, event(None, -8.0 * 24.0 * 60.0)).await;
    let old = issue(&recorder).await;
    assert_eq!(
        (state(&old), kinds(&old)),
        (("unresolved", "ongoing"), vec!["first_seen", "auto_set_ongoing"])
    );

    let recorder = Recorder::start(&[("PITBOSS__RECORDER__ONGOING_AFTER_S", "60")]).await;
    recorder.store(GAME, event(None, -2.0)).await;
    let old = issue(&recorder).await;
    assert_eq!(state(&old), ("unresolved", "ongoing"));
    assert_eq!(old["activity"][1]["why"], "it has been known for 1 minute");
}

#[tokio::test(flavor = "multi_thread")]
async fn absurd_time_of_an_event_stops_nothing() {
    let recorder = Recorder::start(&[]).await;
    recorder.store(GAME, event_at(None, 1e303)).await;
    assert_eq!(state(&issue(&recorder).await), ("unresolved", "new"), "it was first seen when it arrived");
    recorder.store(GAME, event_at(None, 1e303)).await;
    assert_eq!(issue(&recorder).await["count"], 2, "its state was read again");
    recorder.store(GAME, event_at(None, -1e303)).await;
    let found = issue(&recorder).await;
    assert_eq!(state(&found), ("unresolved", "ongoing"), "it was first seen long ago");
    assert_eq!(state(&change(&recorder, json!({"status": "resolved"})).await), ("resolved", ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_operator_changes_states() {
    let recorder = Recorder::start(&[]).await;
    recorder.store(GAME, event(Some("g@1.0.0"), -30.0)).await;
    let id = issue(&recorder).await["id"].as_str().expect("an id").to_owned();
    let url = format!("{}/api/v1/issues/{id}", recorder.query);
    let resolved = json!({"status": "resolved"});
    let without = recorder.client.put(&url).body(resolved.to_string());
    assert_eq!(fetch(without).await.status(), 401);
    let wrong = recorder.client.put(&url).header("x-operator-token", "guess").body(resolved.to_string());
    assert_eq!(fetch(wrong).await.status(), 401);
    let without =
        recorder.client.delete(format!("{}/api/v1/releases?project=game&release=x", recorder.query));
    assert_eq!(fetch(without).await.status(), 401);
    let path = format!("/api/v1/issues/{}", "0".repeat(32));
    let unknown = recorder.operator_request(Method::PUT, &path).body(resolved.to_string());
    assert_eq!(fetch(unknown).await.status(), 404);
    for body in [
        json!({"status": "resolved", "statusDetails": {"inRelease": "g@2.0.0"}}),
        json!({"status": "resolved", "by": ""}),
        json!({"status": "ignored", "substatus": "archived_until_escalating", "statusDetails": {"ignoreCount": 2}}),
    ] {
        assert_eq!(put(&recorder, &body).await.0, 400, "{body}");
    }
    let action =
        json!({"by": "mallory", "action": {"change_issue": {"issue": id, "command": {"resolve": "now"}}}});
    let forged = format!("{{}}\n{{\"type\":\"operator_action\"}}\n{action}\n");
    recorder.store(GAME, forged.clone()).await;
    for key in [key(0), key(GAME)] {
        let url = format!("{}/api/0/envelope/?sentry_key={key}", recorder.ingest);
        let as_the_recorder = recorder.client.post(url).body(forged.clone());
        assert_eq!(
            fetch(as_the_recorder).await.status(),
            403,
            "no key belongs to the recorder's own project"
        );
    }
    assert_eq!(state(&issue(&recorder).await), ("unresolved", "new"), "a sender is no operator");
}

#[tokio::test(flavor = "multi_thread")]
async fn state_is_deleted_with_the_envelopes() {
    let recorder = Recorder::start(&[]).await;
    recorder.store(GAME, event(Some("g@1.0.0"), -30.0)).await;
    change(&recorder, json!({"status": "ignored"})).await;
    let deleted = fetch(recorder.operator_request(Method::DELETE, "/api/v1/envelopes")).await;
    assert_eq!(deleted.status(), 204);
    recorder.store(GAME, event(Some("g@1.0.0"), 0.0)).await;
    let found = issue(&recorder).await;
    assert_eq!((state(&found), kinds(&found)), (("unresolved", "new"), vec!["first_seen"]));
}
