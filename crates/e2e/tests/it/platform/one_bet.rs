//! One bet is one trace: rebuilt from the raw envelopes, against the list of edges, free of personal data, and fine with
//! Sentry's own ingestion library.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use pitboss::player::BetResult;
use pitboss::trace::edges;
use testkit::eventually;
use uuid::Uuid;

use super::{CURRENCY, DEPOSIT_MINOR, platform, raw};

const ARRIVES_WITHIN: Duration = Duration::from_secs(30);

/// A new player's bet that was settled in time, and its trace. One that was not is another player's: its trace has more edges.
async fn settled_bet() -> (BetResult, String) {
    eventually("a bet that settles in time", Duration::from_secs(60), || async {
        let gateway = &platform().gateway;
        let player = gateway.register(CURRENCY).await.expect("registered");
        gateway.deposit(&player, DEPOSIT_MINOR, CURRENCY).await.expect("deposited");
        let answer =
            gateway.bet(&player, 100, CURRENCY, &Uuid::new_v4().to_string()).await.expect("answered");
        let result = answer.result().ok()?;
        Some((result, answer.trace_id.expect("x-trace-id")))
    })
    .await
}

#[tokio::test]
async fn its_trace_is_one_tree_with_exactly_the_listed_edges() {
    let platform = platform();
    let _peace = platform.peacefully().await;
    let since = raw::last_seq(platform).await;

    let (result, trace_id) = settled_bet().await;
    assert_eq!(result.balance_minor, DEPOSIT_MINOR - 100 + result.payout_minor);

    let last = std::cell::RefCell::new(Vec::new());
    let found = eventually_whole(&trace_id, since, &last).await;
    assert!(found, "defects: {:#?}", last.borrow());
}

async fn eventually_whole(trace_id: &str, since: u64, last: &std::cell::RefCell<Vec<String>>) -> bool {
    let started = tokio::time::Instant::now();
    while started.elapsed() < ARRIVES_WITHIN {
        let transactions = raw::items(platform(), since, "transaction").await;
        let trace = raw::trace(trace_id, &transactions);
        let defects = edges::findings(&trace);
        if defects.is_empty() {
            return true;
        }
        last.replace(defects);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    false
}

#[tokio::test]
async fn a_rejected_bet_is_a_result_and_not_an_issue() {
    let platform = platform();
    let _peace = platform.peacefully().await;
    let player = platform.gateway.register(CURRENCY).await.expect("registered");
    platform.gateway.deposit(&player, 200, CURRENCY).await.expect("deposited");
    let since = raw::last_seq(platform).await;

    let answer =
        platform.gateway.bet(&player, 5_000, CURRENCY, &Uuid::new_v4().to_string()).await.expect("answered");
    let result = answer.result().expect("a result");
    assert_eq!((result.outcome.as_str(), result.payout_minor), ("rejected", 0));
    assert_eq!(platform.gateway.balance(&player, CURRENCY).await.expect("a balance"), 200);

    let trace_id = answer.trace_id.expect("x-trace-id");
    eventually("the gateway's transaction", ARRIVES_WITHIN, || async {
        let transactions = raw::items(platform, since, "transaction").await;
        (!raw::trace(&trace_id, &transactions).spans.is_empty()).then_some(())
    })
    .await;
    let errors = raw::items(platform, since, "event").await;
    let of_this_trace: Vec<_> =
        errors.iter().filter(|(_, e)| e["contexts"]["trace"]["trace_id"] == trace_id.as_str()).collect();
    assert!(of_this_trace.is_empty(), "{of_this_trace:?}");
}

#[tokio::test]
async fn personal_data_does_not_leave() {
    let platform = platform();
    let _peace = platform.peacefully().await;
    let canary = format!("canary{}", Uuid::new_v4().simple());
    let since = raw::last_seq(platform).await;
    let register = |email: String| {
        let body = serde_json::json!({
            "email": email, "password": format!("pw-{canary}"), "display_name": format!("name {canary}"), "currency": CURRENCY,
        });
        let url = format!("{}/api/v1/players", platform.gateway_url);
        platform.http.post(url).header("idempotency-key", Uuid::new_v4().to_string()).json(&body).send()
    };
    let registered = register(format!("{canary}@players.example")).await.expect("answered");
    assert!(registered.status().is_success(), "{}", registered.status());
    let trace_id = registered.headers()["x-trace-id"].to_str().expect("ASCII").to_owned();
    // Refused input is what tends to end in messages and error texts.
    for email in [format!("{canary}@@players.example"), format!("{canary}@players.example")] {
        let refused = register(email).await.expect("answered");
        assert!(refused.status().is_client_error(), "{}", refused.status());
    }
    eventually("the registration's trace", ARRIVES_WITHIN, || async {
        let transactions = raw::items(platform, since, "transaction").await;
        (raw::trace(&trace_id, &transactions).services.len() >= 2).then_some(())
    })
    .await;
    let all = raw::envelopes(platform, since).await;
    assert!(all.len() >= 2, "only {} envelopes searched", all.len());
    for envelope in &all {
        assert!(!envelope.to_string().contains(&canary), "personal data in {envelope}");
    }
}

#[tokio::test]
async fn sentrys_ingestion_library_has_no_complaint() {
    let Ok(python) = std::env::var("PITBOSS_TEST_PYTHON") else {
        panic!(
            "PITBOSS_TEST_PYTHON is not set: run this test through `./pitboss test`, which makes an environment with sentry-relay"
        );
    };
    let platform = platform();
    let _peace = platform.peacefully().await;
    let since = raw::last_seq(platform).await;
    let (_, trace_id) = settled_bet().await;
    let last = std::cell::RefCell::new(Vec::new());
    assert!(eventually_whole(&trace_id, since, &last).await, "{:#?}", last.borrow());

    let envelopes = raw::envelopes(platform, since).await;
    let lines: String = envelopes.iter().map(|e| format!("{e}\n")).collect();
    let script = crate::workspace::root().join("crates/telemetry/tests/relay_check.py");
    let mut check = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python starts");
    check.stdin.take().expect("a pipe").write_all(lines.as_bytes()).expect("the check reads");
    let output = check.wait_with_output().expect("the check ends");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}
