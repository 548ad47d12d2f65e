use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::*;
use crate::{
    domain::alerting::{AlertState, FoldedBy},
    protocol::alert_state::ALERT_STATE,
    query::{own_items, test_query},
};

/// Project numbers of the test.
const GAME: u32 = 1;

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs_f64()
}

fn open(directory: &std::path::Path) -> (Query, [std::thread::JoinHandle<()>; 2]) {
    let (query, threads) = test_query::open(directory);
    (test_query::with_projects(query, &["game", "lagwatch"]), threads)
}

async fn dead_letter(query: &Query, at: f64) {
    let metric = json!({"items": [{"timestamp": at, "trace_id": "ab".repeat(16), "type": "counter", "value": 1.0,
        "name": "pitboss.bus.records.dead_lettered", "attributes": {}}]});
    test_query::store_item(query, GAME, at, "trace_metric", &metric.to_string()).await;
}

/// A good check-in of a monitor that is due every minute.
fn check_in() -> String {
    json!({"check_in_id": "0".repeat(32), "monitor_slug": "job-game-sweeper", "status": "ok",
        "monitor_config": {"schedule": {"type": "interval", "value": 1, "unit": "minute"}, "checkin_margin": 2}})
    .to_string()
}

/// An event of an error.
fn event(event_id: &str, at: f64) -> String {
    json!({"event_id": event_id, "timestamp": at, "level": "error",
        "contexts": {"trace": {"trace_id": "cd".repeat(16), "span_id": "12".repeat(8)}},
        "exception": {"values": [{"type": "SpinError", "value": "no reel"}]}})
    .to_string()
}

/// Stores what changed, as the watch does.
async fn save(evaluator: &mut Evaluator, query: &Query) {
    let unsaved = evaluator.unsaved().expect("a change");
    let seq = own_items::store(query, ALERT_STATE, &[unsaved], "states of alerts").await.expect("stored");
    evaluator.saved(seq);
    assert_eq!(query.index.caught_up().await, 0);
}

/// Runs rounds ten seconds apart, and returns the present state of the dead letters of game after each.
fn rounds(evaluator: &mut Evaluator, query: &Query, from: f64, count: u32) -> Vec<Phase> {
    let round = |number: u32| {
        let found = evaluator.round(query, from + f64::from(number) * 10.0).expect("a round");
        let of_game =
            found.rules.iter().find(|state| state.rule == "dead-letters" && state.project == "game");
        of_game.expect("a state").condition.phase
    };
    (0..count).map(round).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn alert_fires_survives_a_restart_and_ends() {
    let directory = tempfile::tempdir().expect("a folder");
    let (query, threads) = open(directory.path());
    let begin = now();
    let mut evaluator = Evaluator::restore(&query, 0, begin).expect("nothing stored");
    assert_eq!(rounds(&mut evaluator, &query, begin - 10.0, 1), [Phase::NoData]);
    dead_letter(&query, begin).await;
    assert_eq!(
        rounds(&mut evaluator, &query, begin + 1.0, 3),
        [Phase::Pending, Phase::Firing, Phase::Firing]
    );
    let unsaved = evaluator.unsaved().expect("an alert");
    assert_eq!(unsaved.alerts.len(), 1);
    let finding = &unsaved.alerts[0].entries[0].finding;
    assert_eq!((finding.value, finding.bound, finding.window_s), (Some(1.0), Some(0.0), Some(300)));
    assert_eq!(finding.traces, ["ab".repeat(16)]);
    save(&mut evaluator, &query).await;
    assert_eq!(evaluator.unsaved(), None);

    let mut evaluator = Evaluator::restore(&query, 0, begin).expect("what is stored");
    assert_eq!(rounds(&mut evaluator, &query, begin + 30.0, 2), [Phase::Firing; 2]);
    assert_eq!(evaluator.unsaved(), None, "it is the same alert");
    assert_eq!(rounds(&mut evaluator, &query, begin + 320.0, 1), [Phase::Resolved]);
    let ended = evaluator.unsaved().expect("a change");
    assert_eq!((ended.alerts[0].state(), ended.alerts[0].id), (AlertState::Resolved, 1));
    test_query::close(&query, threads).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_lag_is_one_alert_once_it_could_have_arrived() {
    let directory = tempfile::tempdir().expect("a folder");
    let (query, threads) = open(directory.path());
    let begin = now();
    let mut evaluator = Evaluator::restore(&query, 0, begin).expect("nothing stored");
    rounds(&mut evaluator, &query, begin, 48);
    assert_eq!(evaluator.unsaved(), None, "the recorder has just started");
    rounds(&mut evaluator, &query, begin + 480.0, 2);
    let alerts = evaluator.unsaved().expect("an alert").alerts;
    let [alert] = &alerts[..] else { panic!("{alerts:?}") };
    let reasons: Vec<_> = alert.entries.iter().map(|entry| entry.folded_by).collect();
    assert_eq!(reasons, [FoldedBy::First, FoldedBy::Cause, FoldedBy::Cause], "three rules about one lag");
    assert!(alert.entries.iter().all(|entry| entry.finding.what.ends_with("(no data)")), "{alert:?}");
    test_query::close(&query, threads).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_issue_is_noted_once() {
    let directory = tempfile::tempdir().expect("a folder");
    let (query, threads) = open(directory.path());
    let begin = now();
    let mut evaluator = Evaluator::restore(&query, 0, begin).expect("nothing stored");
    for event_id in ["1".repeat(32), "2".repeat(32)] {
        test_query::store_item(&query, GAME, begin, "event", &event(&event_id, begin)).await;
        rounds(&mut evaluator, &query, begin, 2);
    }
    let alerts = evaluator.unsaved().expect("an alert").alerts;
    let [alert] = &alerts[..] else { panic!("{alerts:?}") };
    assert_eq!((alert.count, alert.state()), (1, AlertState::Noted));
    let finding = &alert.entries[0].finding;
    assert!(finding.what.starts_with("new issue: SpinError"), "{finding:?}");
    assert_eq!((finding.project.as_str(), &finding.traces[..]), ("game", &["cd".repeat(16)][..]));
    test_query::close(&query, threads).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missed_check_in_fires_and_ends_with_the_next() {
    let directory = tempfile::tempdir().expect("a folder");
    let (query, threads) = open(directory.path());
    let begin = now();
    let check_in = check_in();
    let mut evaluator = Evaluator::restore(&query, 0, begin).expect("nothing stored");
    rounds(&mut evaluator, &query, begin - 200.0, 1);
    test_query::store_item(&query, GAME, begin, "check_in", &check_in).await;
    rounds(&mut evaluator, &query, begin + 10.0, 2);
    assert_eq!(evaluator.unsaved(), None);
    rounds(&mut evaluator, &query, begin + 190.0, 2);
    let alerts = evaluator.unsaved().expect("an alert").alerts;
    assert_eq!(alerts[0].keys.keys().collect::<Vec<_>>(), ["check-in job-game-sweeper in game"]);
    assert_eq!(alerts[0].state(), AlertState::Firing);
    test_query::store_item(&query, GAME, begin + 205.0, "check_in", &check_in).await;
    rounds(&mut evaluator, &query, begin + 210.0, 1);
    assert_eq!(evaluator.unsaved().expect("a change").alerts[0].state(), AlertState::Resolved);
    test_query::close(&query, threads).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn job_that_always_fails_fires_by_its_thresholds() {
    let directory = tempfile::tempdir().expect("a folder");
    let (query, threads) = open(directory.path());
    let begin = now();
    let ended = |status: &str| {
        json!({"check_in_id": "0".repeat(32), "monitor_slug": "nightly", "status": status,
            "monitor_config": {"schedule": {"type": "interval", "value": 1, "unit": "hour"},
                "failure_issue_threshold": 2, "recovery_threshold": 1}})
        .to_string()
    };
    let mut evaluator = Evaluator::restore(&query, 0, begin).expect("nothing stored");
    rounds(&mut evaluator, &query, begin - 200.0, 1);
    test_query::store_item(&query, GAME, begin, "check_in", &ended("error")).await;
    rounds(&mut evaluator, &query, begin + 10.0, 2);
    assert_eq!(evaluator.unsaved(), None, "one failure is not enough");
    test_query::store_item(&query, GAME, begin + 35.0, "check_in", &ended("error")).await;
    rounds(&mut evaluator, &query, begin + 40.0, 2);
    let states = evaluator.rule_states();
    let state = states.iter().find(|state| state.rule == "check-in nightly").expect("a state");
    assert_eq!((state.condition.phase, state.what), (Phase::Firing, Some("error")));
    let alerts = evaluator.unsaved().expect("an alert").alerts;
    let finding = &alerts[0].entries[0].finding;
    assert_eq!((finding.what.as_str(), alerts[0].state()), ("check-in nightly: error", AlertState::Firing));
    test_query::store_item(&query, GAME, begin + 65.0, "check_in", &ended("ok")).await;
    rounds(&mut evaluator, &query, begin + 70.0, 1);
    assert_eq!(evaluator.unsaved().expect("a change").alerts[0].state(), AlertState::Resolved);
    test_query::close(&query, threads).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn issues_from_before_the_last_hour_are_no_news() {
    let directory = tempfile::tempdir().expect("a folder");
    let (query, threads) = open(directory.path());
    let begin = now();
    let old = begin - 2.0 * FIRST_PERIOD_S as f64;
    test_query::store_item(&query, GAME, old, "event", &event(&"1".repeat(32), old)).await;
    let mut evaluator = Evaluator::restore(&query, 0, begin).expect("nothing stored");
    rounds(&mut evaluator, &query, begin, 2);
    assert_eq!(evaluator.unsaved(), None, "the evaluation was switched off for long");
    let mut evaluator = Evaluator::restore(&query, 0, old).expect("nothing stored");
    rounds(&mut evaluator, &query, begin, 2);
    assert!(evaluator.unsaved().is_some(), "it was news at its time");
    test_query::close(&query, threads).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_envelopes_take_their_alerts_with_them() {
    let directory = tempfile::tempdir().expect("a folder");
    let (query, threads) = open(directory.path());
    let begin = now();
    let mut evaluator = Evaluator::restore(&query, 0, begin).expect("nothing stored");
    dead_letter(&query, begin).await;
    assert_eq!(rounds(&mut evaluator, &query, begin + 1.0, 2), [Phase::Pending, Phase::Firing]);
    save(&mut evaluator, &query).await;
    query.journal.delete_all().await.expect("deleted");
    assert_eq!(query.index.caught_up().await, 0);
    assert_eq!(rounds(&mut evaluator, &query, begin + 21.0, 2), [Phase::NoData; 2]);
    assert_eq!(evaluator.unsaved(), None);
    assert!(query.read_index(stored::alerts).expect("alerts").is_empty());
    dead_letter(&query, begin + 41.0).await;
    assert_eq!(rounds(&mut evaluator, &query, begin + 41.0, 2), [Phase::Pending, Phase::Firing]);
    assert_eq!(evaluator.unsaved().expect("an alert").alerts[0].id, 1);
    test_query::close(&query, threads).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lasts_is_stored_with_every_change() {
    let directory = tempfile::tempdir().expect("a folder");
    let (query, threads) = open(directory.path());
    let begin = now();
    let mut evaluator = Evaluator::restore(&query, 0, begin).expect("nothing stored");
    dead_letter(&query, begin).await;
    rounds(&mut evaluator, &query, begin + 1.0, 2);
    save(&mut evaluator, &query).await;
    test_query::store_item(&query, GAME, begin, "event", &event(&"1".repeat(32), begin)).await;
    rounds(&mut evaluator, &query, begin + 21.0, 1);
    let folds: Vec<_> =
        evaluator.unsaved().expect("an alert").alerts.into_iter().map(|alert| alert.fold).collect();
    assert_eq!(folds, ["backlog", "failures"], "the older one may lie in an envelope that is deleted first");
    test_query::close(&query, threads).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missed_check_in_that_nobody_knows_any_more_ends_after_a_day() {
    let directory = tempfile::tempdir().expect("a folder");
    let (query, threads) = open(directory.path());
    let begin = now();
    let mut evaluator = Evaluator::restore(&query, 0, begin).expect("nothing stored");
    test_query::store_item(&query, GAME, begin, "check_in", &check_in()).await;
    rounds(&mut evaluator, &query, begin, 1);
    rounds(&mut evaluator, &query, begin + 200.0, 2);
    save(&mut evaluator, &query).await;
    let days = 2.0 * monitors::PERIOD_S as f64;
    let mut evaluator = Evaluator::restore(&query, 0, begin + days).expect("what is stored");
    rounds(&mut evaluator, &query, begin + days, 1);
    assert_eq!(evaluator.unsaved(), None, "the recorder has just started");
    rounds(&mut evaluator, &query, begin + days + 200.0, 1);
    assert_eq!(evaluator.unsaved().expect("a change").alerts[0].state(), AlertState::Resolved);
    assert!(evaluator.rule_states().iter().all(|state| !state.rule.starts_with("check-in")));
    test_query::close(&query, threads).await;
}
