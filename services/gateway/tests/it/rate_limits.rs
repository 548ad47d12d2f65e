//! Rate limits: per player, per address (the operator is exempt), and separately for log-ins.

use std::time::Instant;

use gateway::Config;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use testkit::{metrics, scenario};
use tokio::io::AsyncWriteExt as _;

use crate::harness::{
    Broker, OPERATOR_TOKEN, TIMEOUT, TestGateway, problem, read_answer, send, token, valid_body,
};

/// Burst of these tests. Each second allows one more request.
const BURST: u32 = 3;

/// Sends requests until the limit refuses one. Returns the number of accepted ones, answered with `otherwise`, and the refusal.
async fn until_refused(otherwise: StatusCode, request: impl Fn() -> RequestBuilder) -> (u32, Response) {
    let started = Instant::now();
    for passed in 0..50 {
        let response = send(request()).await;
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            let most = u64::from(BURST) + started.elapsed().as_secs();
            assert!(u64::from(passed) <= most, "{passed} requests passed, the limit is {most}");
            return (passed, response);
        }
        assert_eq!(response.status(), otherwise);
    }
    panic!("no limit after 50 requests in {:?}", started.elapsed());
}

fn few_per_player(config: &mut Config) {
    (config.limits.per_player_per_s, config.limits.per_player_burst) = (1, BURST);
}

fn few_per_address(config: &mut Config) {
    (config.limits.per_address_per_s, config.limits.per_address_burst) = (1, BURST);
}

#[tokio::test]
async fn each_player_has_a_limit() {
    let gateway = TestGateway::start_with(Broker::Settles, few_per_player).await;
    let request = || gateway.as_player(Method::GET, "/api/v1/me");
    let (passed, _) = until_refused(StatusCode::OK, request).await;
    assert!(passed >= BURST, "{passed} requests passed");
    let (_, refused) =
        until_refused(StatusCode::OK, || request().header("x-operator-token", OPERATOR_TOKEN)).await;
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(
        problem(refused).await,
        (429, "/problems/too-many-requests".to_owned()),
        "the operator is not exempt from the limit per player"
    );
    let other = gateway.request(Method::GET, "/api/v1/me").bearer_auth(token("p-2", "s-2"));
    assert_eq!(send(other).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn each_address_but_the_operators_has_a_limit() {
    let gateway = TestGateway::start_with(Broker::Settles, few_per_address).await;
    let request = || gateway.request(Method::GET, "/api/v1/games/slots/pay-table");
    let (passed, refused) = until_refused(StatusCode::OK, request).await;
    assert!(passed >= BURST, "{passed} requests passed");
    assert_eq!(problem(refused).await.0, 429);
    let (_, unknown) =
        until_refused(StatusCode::NOT_FOUND, || gateway.request(Method::GET, "/no/such/path")).await;
    assert_eq!(unknown.headers().get("x-frame-options").expect("security headers"), "DENY");
    assert_eq!(problem(unknown).await.0, 429, "unknown paths are counted too");
    let (_, guessed) =
        until_refused(StatusCode::OK, || request().header("x-operator-token", "guessed")).await;
    assert_eq!(problem(guessed).await.0, 429);
    for _ in 0..10 {
        let operator = request().header("x-operator-token", OPERATOR_TOKEN);
        assert_eq!(send(operator).await.status(), StatusCode::OK);
    }
}

fn few_log_ins(config: &mut Config) {
    few_per_player(config);
    few_per_address(config);
    (config.limits.credentials_per_address_per_s, config.limits.credentials_per_address_burst) = (1, BURST);
}

#[tokio::test]
async fn log_ins_have_their_own_limit() {
    let gateway = TestGateway::start_with(Broker::Settles, few_log_ins).await;
    let post =
        |path| gateway.request(Method::POST, path).header("idempotency-key", "k").json(&valid_body(path));
    let log_in = || post("/api/v1/sessions");
    let register = || post("/api/v1/players");
    let started = Instant::now();
    let (logged_in, refused) = until_refused(StatusCode::CREATED, log_in).await;
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(problem(refused).await, (429, "/problems/too-many-requests".to_owned()));
    let (registered, refused) = until_refused(StatusCode::CREATED, register).await;
    assert_eq!(problem(refused).await, (429, "/problems/too-many-requests".to_owned()));
    let (passed, most) = (logged_in + registered, u64::from(BURST) + started.elapsed().as_secs());
    assert!(u64::from(passed) <= most, "registrations share the limit: {passed} passed, the limit is {most}");
    let reached = u32::try_from(gateway.peers.records().networks.len()).expect("few");
    assert_eq!(reached, passed, "no refused request reached the user service");

    for bet in 0..BURST {
        let key = testkit::unique("k");
        assert_eq!(gateway.bet(&key).await.status(), StatusCode::OK, "bet {bet} of {BURST}");
    }
    for _ in 0..10 {
        let operator = log_in().header("x-operator-token", OPERATOR_TOKEN);
        assert_eq!(send(operator).await.status(), StatusCode::CREATED);
    }
}

/// A client sends its body after the headers. If the refusal came before it, the client would meet a closed connection.
#[tokio::test]
async fn refused_request_keeps_its_connection() {
    let gateway = TestGateway::start_with(Broker::Settles, few_per_address).await;
    until_refused(StatusCode::OK, || gateway.request(Method::GET, "/api/v1/games/slots/pay-table")).await;
    testkit::eventually("two refusals", TIMEOUT, || refused_twice(&gateway)).await;
}

/// Sends two requests on one connection, each with a late body, and checks their refusals. `None` when the limit allowed one of them,
/// or when a body was too late.
async fn refused_twice(gateway: &TestGateway) -> Option<()> {
    let mut connection = gateway.connect().await;
    for _ in 0..2 {
        let answer = gateway.with_late_body(&mut connection, "POST /no/such/path HTTP/1.1\r\n").await?;
        if answer.starts_with("HTTP/1.1 404 ") {
            return None;
        }
        assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("x-trace-id"), "{answer:?}");
        assert!(!answer.contains("connection: close"), "{answer:?}");
    }
    Some(())
}

/// The refusal is counted at once. It is sent before the request's deadline, whose answer would be a 503.
#[tokio::test]
async fn refusal_does_not_wait_for_a_slow_body() {
    let gateway = TestGateway::start_with(Broker::Settles, few_per_address).await;
    let head =
        format!("POST /no/such/path HTTP/1.1\r\nHost: {}\r\nContent-Length: 4\r\n\r\n", gateway.address());
    let counted = || metrics::counted("pitboss_requests_refused_total", &[("reason", "address")]);
    let (answer, is_counted_first) = loop {
        until_refused(StatusCode::OK, || gateway.request(Method::GET, "/api/v1/games/slots/pay-table")).await;
        let before = counted();
        let mut connection = gateway.connect().await;
        connection.write_all(head.as_bytes()).await.expect("sent");
        let is_counted_first = tokio::select! {
            biased;
            () = testkit::eventually("the count", TIMEOUT, || async { (counted() > before).then_some(()) }) => true,
            readable = connection.readable() => readable.map(|()| false).expect("a socket"),
        };
        let answer = read_answer(&mut connection).await;
        // The limit allows a request each second.
        if !answer.starts_with("HTTP/1.1 404 ") {
            break (answer, is_counted_first);
        }
    };
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer:?}");
    assert!(is_counted_first, "the answer came before the count");
}

/// Requests of a flood of log-ins, and refused ones that get a transaction in a second.
const FLOOD: u32 = 60;
const RECORDED_PER_S: u32 = 2;

#[test]
fn refused_flood_costs_few_transactions() {
    scenario::run("rate_limits::scenario");
}

#[test]
#[ignore = "runs in the process that the test above starts"]
fn scenario() {
    let Some((receiver, flood)) = scenario::received("gateway", |_| flood()) else { return };
    let items = receiver.items();
    let transactions = |name: &str| {
        let is_refusal = |(kind, item): &&(String, Value)| {
            let status = &item["contexts"]["trace"]["data"]["http.response.status_code"];
            kind == "transaction" && item["transaction"] == name && *status == 429
        };
        u64::try_from(items.iter().filter(is_refusal).count()).expect("few")
    };
    let log_ins = transactions("POST /api/v1/sessions");
    let most = u64::from(RECORDED_PER_S) * (1 + flood.took_s);
    assert!((1..=most).contains(&log_ins), "{log_ins} transactions, limit {most}");
    assert!(flood.refused_log_ins > log_ins, "INVALID run: {} were refused", flood.refused_log_ins);
    assert!(flood.refused_player > 0, "INVALID run: the player was not refused");
    assert_eq!(transactions("GET /api/v1/me"), flood.refused_player, "these are no flood");
}

/// Refused requests, and the time of the log-ins, rounded up.
struct Flood {
    refused_log_ins: u64,
    took_s: u64,
    refused_player: u64,
}

/// Logs in and asks for a profile more often than it is allowed.
async fn flood() -> Flood {
    let few = |config: &mut Config| {
        few_per_player(config);
        (config.limits.credentials_per_address_per_s, config.limits.credentials_per_address_burst) =
            (1, BURST);
        config.limits.refusals_recorded_per_address_per_s = RECORDED_PER_S;
    };
    let gateway = TestGateway::start_with(Broker::Settles, few).await;
    let log_in = || {
        let request = gateway.request(Method::POST, "/api/v1/sessions").header("idempotency-key", "k");
        request.json(&valid_body("/api/v1/sessions"))
    };
    let started = Instant::now();
    let refused_log_ins = refused_of(FLOOD, log_in).await;
    let took_s = started.elapsed().as_secs() + 1;
    let refused_player = refused_of(FLOOD, || gateway.as_player(Method::GET, "/api/v1/me")).await;
    let counted = |reason| metrics::counted("pitboss_requests_refused_total", &[("reason", reason)]);
    assert_eq!(counted("credentials").to_string(), refused_log_ins.to_string());
    assert_eq!(counted("player").to_string(), refused_player.to_string());
    Flood { refused_log_ins, took_s, refused_player }
}

/// Sends requests. Returns how many were refused.
async fn refused_of(count: u32, request: impl Fn() -> RequestBuilder) -> u64 {
    let mut refused = 0;
    for _ in 0..count {
        let response = send(request()).await;
        assert!(response.headers().contains_key("x-trace-id"), "every answer has a trace id");
        refused += u64::from(response.status() == StatusCode::TOO_MANY_REQUESTS);
    }
    refused
}

#[tokio::test]
async fn retry_after_of_an_account_is_forwarded() {
    let gateway = TestGateway::start(Broker::Settles).await;
    let credentials = json!({ "email": "guessed@players.example", "password": "12345678" });
    let request = gateway.request(Method::POST, "/api/v1/sessions").header("idempotency-key", "k");
    let refused = send(request.json(&credentials)).await;
    assert_eq!(refused.headers().get("retry-after").expect("a header"), "27");
    assert_eq!(problem(refused).await, (429, "/problems/too-many-requests".to_owned()));
}

#[tokio::test]
async fn client_network_is_sent_to_the_user_service() {
    let gateway = TestGateway::start(Broker::Settles).await;
    for path in ["/api/v1/sessions", "/api/v1/players"] {
        // A network that the client claims is ignored.
        let request = gateway.request(Method::POST, path).header("x-client-network", "192.0.2.1");
        let response = send(request.header("idempotency-key", "k").json(&valid_body(path))).await;
        assert_eq!(response.status(), StatusCode::CREATED, "{path}");
    }
    assert_eq!(gateway.peers.records().networks, ["127.0.0.1", "127.0.0.1"]);
}
