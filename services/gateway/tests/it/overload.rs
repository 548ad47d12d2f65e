//! Overload: a new bet is refused early and publishes nothing, and few of the refused ones get a transaction. A known key, a deposit
//! and a bet after the overload are accepted.

use std::{collections::BTreeSet, time::Instant};

use contracts::ids;
use gateway::Config;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use testkit::{metrics, scenario};

use crate::harness::{Broker, TIMEOUT, TestGateway, outcome, problem, send, valid_body};

/// Assumes an overload as soon as twenty bets are in flight, their number grows, and outcomes are slow.
fn sensitive(config: &mut Config) {
    (config.bets.wait_ms, config.bets.waiters_max) = (60_000, 10_000);
    (config.bets.in_flight_min, config.bets.slow_ratio, config.bets.overload_after_ms) = (20, 2, 1);
}

/// Sends a write that is answered as soon as it is published.
async fn accept(request: RequestBuilder, key: &str) -> Response {
    send(request.header("idempotency-key", key).header("prefer", "respond-async")).await
}

/// Sends the outcome of the published command with this number.
fn decide(gateway: &TestGateway, number: usize) {
    let outcome = outcome(&gateway.published()[number], Broker::Settles).expect("an outcome");
    assert!(!gateway.standalone.receive(&outcome), "its request was answered before");
}

/// Sends two bets for each that is decided, until one is not accepted. Returns its key and answer. `decided` is the number of decided
/// bets.
async fn overload(gateway: &TestGateway, decided: &mut usize) -> (String, Response) {
    loop {
        for _ in 0..2 {
            let key = testkit::unique("k");
            let response = accept(gateway.bet_request(100), &key).await;
            if response.status() != StatusCode::ACCEPTED {
                return (key, response);
            }
        }
        decide(gateway, *decided);
        *decided += 1;
    }
}

#[tokio::test]
async fn overload_refuses_new_bets_only() {
    let gateway = TestGateway::start_with(Broker::Settles, sensitive).await;
    let (settled, accepted) = (testkit::unique("k"), testkit::unique("k"));
    assert_eq!(gateway.bet(&settled).await.status(), StatusCode::OK);
    gateway.set_broker(Broker::Silent);
    assert_eq!(accept(gateway.bet_request(100), &accepted).await.status(), StatusCode::ACCEPTED);

    let mut decided = 0;
    let refused = overload(&gateway, &mut decided);
    let (refused, answer) = tokio::time::timeout(TIMEOUT, refused).await.expect("a refused bet");
    let retry_after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
    let retry_after_s: u64 = retry_after.expect("a header").parse().expect("seconds");
    assert!((1..=30).contains(&retry_after_s), "{retry_after_s}");
    assert_eq!(problem(answer).await, (503, "/problems/overloaded".to_owned()));
    let id = ids::command_id("p-1", "POST /api/v1/bets", &refused);
    assert!(gateway.published().iter().all(|command| command.id != id), "nothing was published");
    assert!(metrics::counted("pitboss_bets_refused_total", &[]) >= 1.0);

    assert_eq!(gateway.bet(&settled).await.status(), StatusCode::OK, "a known reply");
    let again = accept(gateway.bet_request(100), &accepted).await;
    assert_eq!(again.status(), StatusCode::ACCEPTED, "a bet that was accepted before");
    let path = "/api/v1/payments/deposits";
    let deposit = gateway.as_player(Method::POST, path).json(&valid_body(path));
    assert_eq!(accept(deposit, &testkit::unique("k")).await.status(), StatusCode::ACCEPTED);

    for number in 0..gateway.published().len() {
        decide(&gateway, number);
    }
    let later = accept(gateway.bet_request(100), &refused).await;
    assert_eq!(later.status(), StatusCode::ACCEPTED, "the same key, once the others are decided");
}

/// Refused bets, and those of them that get a transaction in a second.
const FLOOD: usize = 40;
const RECORDED_PER_S: u32 = 2;

#[test]
fn refused_bets_cost_few_transactions() {
    scenario::run("overload::scenario");
}

#[test]
#[ignore = "runs in the process that the test above starts"]
fn scenario() {
    let Some((receiver, flood)) = scenario::received("gateway", |_| flood()) else { return };
    let items = receiver.items();
    let bets = items
        .iter()
        .filter(|(kind, item)| kind == "transaction" && item["transaction"] == "POST /api/v1/bets");
    let (mut accepted, mut refused) = (0, BTreeSet::new());
    for (_, bet) in bets {
        let trace = &bet["contexts"]["trace"];
        if trace["data"]["http.response.status_code"] == 503 {
            assert_eq!(trace["data"]["error.type"], "overloaded");
            refused.insert(trace["trace_id"].as_str().expect("an id").to_owned());
        } else {
            accepted += 1;
        }
    }
    let most = usize::try_from(u64::from(RECORDED_PER_S) * (1 + flood.took_s)).expect("few");
    assert!((1..=most).contains(&refused.len()), "{} transactions, limit {most}", refused.len());
    assert!(most < FLOOD, "INVALID run: the flood took {} s", flood.took_s);
    assert!(refused.is_subset(&flood.traces), "the answer names another trace");
    assert_eq!(accepted, flood.accepted, "every accepted bet has one");
}

/// Traces of the refused bets, their time, rounded up, and the number of accepted bets.
struct Flood {
    traces: BTreeSet<String>,
    took_s: u64,
    accepted: usize,
}

/// Sends bets until many were refused.
async fn flood() -> Flood {
    let few = |config: &mut Config| {
        sensitive(config);
        config.limits.refusals_recorded_per_address_per_s = RECORDED_PER_S;
    };
    let gateway = TestGateway::start_with(Broker::Settles, few).await;
    assert_eq!(gateway.bet(&testkit::unique("k")).await.status(), StatusCode::OK);
    gateway.set_broker(Broker::Silent);
    let (mut traces, mut decided, started) = (BTreeSet::new(), 0, Instant::now());
    for _ in 0..FLOOD {
        let refused = overload(&gateway, &mut decided);
        let (_, answer) = tokio::time::timeout(TIMEOUT, refused).await.expect("a refused bet");
        let trace_id = answer.headers()["x-trace-id"].to_str().expect("text").to_owned();
        assert_eq!(problem(answer).await.1, "/problems/overloaded");
        traces.insert(trace_id);
    }
    let took_s = started.elapsed().as_secs() + 1;
    assert_eq!(traces.len(), FLOOD, "each has its own trace");
    let requests = metrics::counted("pitboss_requests_refused_total", &[("reason", "overload")]);
    let counted = [metrics::counted("pitboss_bets_refused_total", &[]), requests];
    assert_eq!(counted.map(|count| count.to_string()), [FLOOD.to_string(), FLOOD.to_string()]);
    Flood { traces, took_s, accepted: gateway.published().len() }
}
