//! Rate limits: per player, per address (the operator is exempt), and separately for log-ins.

use std::time::Instant;

use gateway::Config;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::json;

use crate::stage::{Broker, OPERATOR_TOKEN, Stage, problem, token};

/// Burst of these tests. Each second allows one more request.
const BURST: u32 = 3;

/// Sends requests until the limit refuses one. Returns the number of accepted ones, answered with `otherwise`, and the refusal.
async fn until_refused(otherwise: StatusCode, ask: impl Fn() -> RequestBuilder) -> (u32, Response) {
    let begun = Instant::now();
    for passed in 0..50 {
        let answer = ask().send().await.expect("an answer");
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            let most = u64::from(BURST) + begun.elapsed().as_secs();
            assert!(u64::from(passed) <= most, "{passed} were let pass, {most} are the limit");
            return (passed, answer);
        }
        assert_eq!(answer.status(), otherwise);
    }
    panic!("no limit after 50 requests in {:?}", begun.elapsed());
}

fn few_per_player(config: &mut Config) {
    (config.limits.per_player_per_s, config.limits.per_player_burst) = (1, BURST);
}

fn few_per_address(config: &mut Config) {
    (config.limits.per_address_per_s, config.limits.per_address_burst) = (1, BURST);
}

#[tokio::test]
async fn a_player_has_a_limit_and_another_player_another() {
    let stage = Stage::set_with(Broker::Settles, few_per_player).await;
    let ask = || stage.as_player(Method::GET, "/api/v1/me");
    let (passed, _) = until_refused(StatusCode::OK, ask).await;
    assert!(passed >= BURST, "{passed} were let pass");
    let (_, refused) =
        until_refused(StatusCode::OK, || ask().header("x-operator-token", OPERATOR_TOKEN)).await;
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(
        problem(refused).await,
        (429, "/problems/too-many-requests".to_owned()),
        "an operator is not exempt from this one"
    );
    let other = stage
        .request(Method::GET, "/api/v1/me")
        .bearer_auth(token("p-2", "s-2"))
        .send()
        .await
        .expect("an answer");
    assert_eq!(other.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_address_has_a_limit_and_the_operator_has_none() {
    let stage = Stage::set_with(Broker::Settles, few_per_address).await;
    let ask = || stage.request(Method::GET, "/api/v1/games/slots/pay-table");
    let (passed, refused) = until_refused(StatusCode::OK, ask).await;
    assert!(passed >= BURST, "{passed} were let pass");
    assert_eq!(problem(refused).await.0, 429);
    let (_, nothing) =
        until_refused(StatusCode::NOT_FOUND, || stage.request(Method::GET, "/no/such/path")).await;
    assert_eq!(nothing.headers().get("x-frame-options").expect("security headers"), "DENY");
    assert_eq!(problem(nothing).await.0, 429, "what does not exist is counted too");
    let (_, guessed) = until_refused(StatusCode::OK, || ask().header("x-operator-token", "guessed")).await;
    assert_eq!(problem(guessed).await.0, 429);
    for _ in 0..10 {
        let operator = ask().header("x-operator-token", OPERATOR_TOKEN).send().await.expect("an answer");
        assert_eq!(operator.status(), StatusCode::OK);
    }
}

fn few_log_ins(config: &mut Config) {
    few_per_player(config);
    few_per_address(config);
    (config.limits.credentials_per_address_per_s, config.limits.credentials_per_address_burst) = (1, BURST);
}

#[tokio::test]
async fn a_flood_of_log_ins_is_refused_and_takes_nothing_from_the_bets_of_its_address() {
    let stage = Stage::set_with(Broker::Settles, few_log_ins).await;
    let credentials = json!({ "email": "a@players.example", "password": "12345678" });
    let registration = json!({ "email": "a@players.example", "password": "12345678", "display_name": "A", "currency": "EUR" });
    let post = |path| stage.request(Method::POST, path).header("idempotency-key", "k");
    let log_in = || post("/api/v1/sessions").json(&credentials);
    let register = || post("/api/v1/players").json(&registration);
    let begun = Instant::now();
    let (logged_in, refused) = until_refused(StatusCode::CREATED, log_in).await;
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(problem(refused).await, (429, "/problems/too-many-requests".to_owned()));
    let (registered, refused) = until_refused(StatusCode::CREATED, register).await;
    assert_eq!(problem(refused).await, (429, "/problems/too-many-requests".to_owned()));
    let (passed, most) = (logged_in + registered, u64::from(BURST) + begun.elapsed().as_secs());
    assert!(u64::from(passed) <= most, "registrations share the limit: {passed} passed of {most}");
    let reached = u32::try_from(stage.behind.log_ins()).expect("few");
    assert_eq!(reached, passed, "nothing that was refused reached user");

    for bet in 0..BURST {
        let key = testkit::unique("k");
        assert_eq!(stage.bet(&key).await.status(), StatusCode::OK, "bet {bet} of {BURST}");
    }
    for _ in 0..10 {
        let operator = log_in().header("x-operator-token", OPERATOR_TOKEN);
        assert_eq!(operator.send().await.expect("an answer").status(), StatusCode::CREATED);
    }
}

#[tokio::test]
async fn how_long_an_account_waits_is_passed_on() {
    let stage = Stage::set(Broker::Settles).await;
    let credentials = json!({ "email": "guessed@players.example", "password": "12345678" });
    let request = stage.request(Method::POST, "/api/v1/sessions").header("idempotency-key", "k");
    let refused = request.json(&credentials).send().await.expect("an answer");
    assert_eq!(refused.headers().get("retry-after").expect("a header"), "27");
    assert_eq!(problem(refused).await, (429, "/problems/too-many-requests".to_owned()));
}

#[tokio::test]
async fn user_is_told_from_which_network_somebody_wants_in() {
    let stage = Stage::set(Broker::Settles).await;
    let log_in = json!({ "email": "ada@players.example", "password": "password of ada" });
    let registration = json!({ "email": "ada@players.example", "password": "password of ada", "display_name": "Ada", "currency": "EUR" });
    for (path, body) in [("/api/v1/sessions", log_in), ("/api/v1/players", registration)] {
        // A network that the client claims is ignored.
        let request = stage.request(Method::POST, path).header("x-client-network", "192.0.2.1");
        let answer = request.header("idempotency-key", "k").json(&body).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::CREATED, "{path}");
    }
    assert_eq!(stage.behind.networks(), ["127.0.0.1", "127.0.0.1"]);
}
