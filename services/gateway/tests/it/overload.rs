//! Overload: a new bet is refused early and publishes nothing. A known key, a deposit and a bet after the overload are accepted.

use contracts::ids;
use gateway::Config;
use reqwest::{Method, RequestBuilder, Response, StatusCode};

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

/// Sends two bets for each that is decided, until one is not accepted. Returns its key and answer.
async fn overload(gateway: &TestGateway) -> (String, Response) {
    let mut decided = 0;
    loop {
        for _ in 0..2 {
            let key = testkit::unique("k");
            let response = accept(gateway.bet_request(100), &key).await;
            if response.status() != StatusCode::ACCEPTED {
                return (key, response);
            }
        }
        decide(gateway, decided);
        decided += 1;
    }
}

#[tokio::test]
async fn overload_refuses_new_bets_only() {
    let gateway = TestGateway::start_with(Broker::Settles, sensitive).await;
    let (settled, accepted) = (testkit::unique("k"), testkit::unique("k"));
    assert_eq!(gateway.bet(&settled).await.status(), StatusCode::OK);
    gateway.set_broker(Broker::Silent);
    assert_eq!(accept(gateway.bet_request(100), &accepted).await.status(), StatusCode::ACCEPTED);

    let (refused, answer) = tokio::time::timeout(TIMEOUT, overload(&gateway)).await.expect("a refused bet");
    let retry_after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
    let retry_after_s: u64 = retry_after.expect("a header").parse().expect("seconds");
    assert!((1..=30).contains(&retry_after_s), "{retry_after_s}");
    assert_eq!(problem(answer).await, (503, "/problems/overloaded".to_owned()));
    let id = ids::command_id("p-1", "POST /api/v1/bets", &refused);
    assert!(gateway.published().iter().all(|command| command.id != id), "nothing was published");
    assert!(testkit::metrics::counted("pitboss_bets_refused_total", &[]) >= 1.0);

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
