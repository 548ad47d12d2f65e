//! Native crashes of payment under bets: each is reported by another process in the trace of the request that caused it, payment starts
//! again, every bet gets its result, and the books balance.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use contracts::parts::Part;
use serde_json::Value;
use store::bson::DateTime;
use testkit::eventually;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::audit::audit;
use super::{CURRENCY, DEPOSIT_MINOR, Platform, exclusive, operator_token, part_of, player_with, status};

const PLAYERS: usize = 3;
const STAKE_MINOR: i64 = 100;
/// Pause between two bets of a player, so that their number is limited.
const PACE: Duration = Duration::from_millis(100);
/// Time for the report on a busy machine. How soon it really arrived is checked by its own times.
const SHOWN_WITHIN: Duration = Duration::from_secs(60);
const BACK_WITHIN: Duration = Duration::from_secs(120);
const CONVERGES_WITHIN: Duration = Duration::from_secs(120);
/// Longest time from the death to the arrival of the report.
const REPORTED_WITHIN_S: f64 = 5.0;
/// Debug faults with the signal of each, and the innermost function of ours.
const CRASHES: [(&str, &str, &str); 2] = [
    ("abort", "SIGABRT", "chassis::debug::deadly::abort"),
    ("stack-overflow", "SIGSEGV", "chassis::debug::deadly::descend"),
];

fn payment() -> Value {
    part_of(&status(), Part::Payment.as_str()).clone()
}

/// Lines of a listing of the recorder.
async fn lines(platform: &Platform, path: &str) -> Vec<Value> {
    let url = format!("{}{path}", platform.recorder_url);
    let text = platform.http.get(url).send().await.expect("answered").text().await.expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Lets payment crash. Returns the trace of the request.
async fn crash(platform: &Platform, fault: &str) -> String {
    let url = format!("{}/api/v1/payment/debug/{fault}", platform.gateway_url);
    let request = platform.http.post(url).header("x-operator-token", operator_token());
    let answer = request.send().await.expect("the gateway answers for the dead service");
    assert_eq!(answer.status(), 502, "{fault}");
    let problem: Value = answer.json().await.expect("a problem");
    assert_eq!(problem["type"], "/problems/service-died");
    problem["trace_id"].as_str().expect("a trace").to_owned()
}

/// The issue whose last event is in this trace, with its events.
async fn issue_in(platform: &Platform, trace_id: &str) -> Option<Value> {
    let issues = lines(platform, "/api/v1/issues?project=payment").await;
    let issue = issues.iter().find(|issue| issue["last_trace_id"] == trace_id)?;
    let id = issue["id"].as_str()?;
    let url = format!("{}/api/v1/issues/{id}", platform.recorder_url);
    platform.http.get(url).send().await.ok()?.json().await.ok()
}

/// Checks the report of a crash: what it says, and when it arrived.
async fn check_report(platform: &Platform, trace_id: &str, signal: &str, function: &str) {
    let issue = eventually("the report of a crash", SHOWN_WITHIN, || issue_in(platform, trace_id)).await;
    let event = &issue["events"][0];
    assert_eq!(
        (event["level"].as_str(), event["handled"].as_bool()),
        (Some("fatal"), Some(false)),
        "{issue}"
    );
    let crash = &event["crash"];
    assert!(crash["reason"].as_str().is_some_and(|reason| reason.starts_with(signal)), "{issue}");
    assert_eq!(crash["thread_name"], "worker", "{crash}");
    let frames = crash["frames"].as_array().expect("frames");
    let innermost = frames.iter().find(|frame| frame["in_app"] == true).expect("a frame of ours");
    assert_eq!(innermost["function"], function, "{crash}");
    let seq = crash["envelope_seq"].as_u64().expect("the envelope with the minidump");
    let listed = lines(platform, &format!("/api/v1/envelopes?since={}&limit=1", seq - 1)).await;
    let (arrived, died) = (listed[0]["received_at"].as_f64(), event["timestamp"].as_f64());
    let took_s = arrived.zip(died).map(|(arrived, died)| arrived - died).expect("two times");
    assert!(took_s <= REPORTED_WITHIN_S, "the report arrived {took_s} s after the death");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_of_payment_is_reported_and_no_cent_moves() {
    let (platform, _lock) = exclusive().await;
    let since = DateTime::now().try_to_rfc3339_string().expect("a time");
    let (stop, mut playing) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
    for _ in 0..PLAYERS {
        let player = player_with(platform, DEPOSIT_MINOR, CURRENCY).await;
        let stop = Arc::clone(&stop);
        playing.spawn(async move {
            let mut settled = 0_u32;
            while !stop.load(Ordering::Relaxed) {
                let key = Uuid::new_v4().to_string();
                // Repeated with its key until it has a result, also over the death of payment
                eventually("the result of a bet", BACK_WITHIN, || async {
                    platform.gateway.bet(&player, STAKE_MINOR, CURRENCY, &key).await.ok()?.result().ok()
                })
                .await;
                settled += 1;
                tokio::time::sleep(PACE).await;
            }
            settled
        });
    }
    for (fault, signal, function) in CRASHES {
        let before = payment()["pid"].as_u64().expect("a process id");
        let trace_id = crash(platform, fault).await;
        check_report(platform, &trace_id, signal, function).await;
        eventually("payment to come back", BACK_WITHIN, || async {
            let payment = payment();
            (payment["pid"].as_u64()? != before && payment["state"] == "ready").then_some(())
        })
        .await;
    }
    stop.store(true, Ordering::Relaxed);
    let settled: u32 = playing.join_all().await.into_iter().sum();
    assert!(settled > 0, "no bet was settled");
    let crashed = lines(platform, "/api/v1/releases?project=payment").await;
    assert!(crashed.iter().any(|release| release["sessions_crashed"].as_u64() >= Some(2)), "{crashed:?}");
    eventually("a clean audit with nothing in flight", CONVERGES_WITHIN, || async {
        let (report, succeeded) = audit(&since, 1, None).await;
        (succeeded && report["clean"] == true).then_some(())
    })
    .await;
}
