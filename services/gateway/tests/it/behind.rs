//! Failures of the services behind the gateway, and the answers to the player.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::stage::{Broker, Stage, problem};

/// Every route that calls a service behind for more than the session check, with a body where one is needed.
fn routes() -> [(Method, &'static str, Option<Value>); 10] {
    let registration = json!({ "email": "a@players.example", "password": "12345678", "display_name": "A", "currency": "EUR" });
    [
        (Method::GET, "/api/v1/me", None),
        (Method::GET, "/api/v1/me/balance", None),
        (Method::GET, "/api/v1/me/bets", None),
        (Method::PUT, "/api/v1/me/limits", Some(json!({ "max_stake_minor": 100, "currency": "EUR" }))),
        (Method::POST, "/api/v1/me/self-exclusion", Some(json!({ "until_epoch_ms": 4_102_444_800_000_i64 }))),
        (Method::GET, "/api/v1/bets/b-1", None),
        (Method::GET, "/api/v1/payments/p-1", None),
        (Method::GET, "/api/v1/games/slots/pay-table", None),
        (Method::POST, "/api/v1/players", Some(registration)),
        (Method::DELETE, "/api/v1/sessions/current", None),
    ]
}

async fn is_unavailable(stage: &Stage, method: Method, path: &str, body: Option<Value>) {
    let what = format!("{method} {path}");
    let mut request = stage.as_player(method, path).header("idempotency-key", testkit::unique("k"));
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = problem(request.send().await.expect("an answer")).await;
    assert_eq!(answer, (503, "/problems/unavailable".to_owned()), "{what}");
}

/// A player cannot fix this, so the answer does not ask for a new log-in.
#[tokio::test]
async fn a_service_that_does_not_know_our_token_is_a_503() {
    let stage = Stage::set(Broker::Settles).await;
    stage.behind.change_the_token();
    for (method, path, body) in routes() {
        is_unavailable(&stage, method, path, body).await;
    }
}

#[tokio::test]
async fn a_session_that_user_does_not_let_us_look_at_is_a_503() {
    let other = |config: &mut gateway::Config| {
        config.security.internal_token = "another internal token of the tests".into();
    };
    let stage = Stage::set_with(Broker::Settles, other).await;
    is_unavailable(&stage, Method::GET, "/api/v1/me", None).await;
    let bet = json!({ "game": "slots", "stake_minor": 100, "currency": "EUR" });
    is_unavailable(&stage, Method::POST, "/api/v1/bets", Some(bet)).await;
    assert!(stage.published().is_empty(), "nobody knows whose bet it is");
}

#[tokio::test]
async fn a_wrong_password_is_the_players_own_401() {
    let stage = Stage::set(Broker::Settles).await;
    let credentials = json!({ "email": "wrong@players.example", "password": "12345678" });
    let request = stage.request(Method::POST, "/api/v1/sessions").header("idempotency-key", "k");
    let refused = request.json(&credentials).send().await.expect("an answer");
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let told: Value = refused.json().await.expect("JSON");
    assert_eq!(
        (&told["type"], &told["detail"]),
        (&json!("/problems/unauthorized"), &json!("the password is wrong"))
    );
}

#[tokio::test]
async fn a_forged_webhook_is_the_providers_own_401() {
    let stage = Stage::set(Broker::Silent).await;
    let request = stage.request(Method::POST, "/api/v1/webhooks/card-provider");
    let answer = request.header("x-card-signature", "forged").body("{}").send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn while_user_is_away_nobody_is_told_that_a_password_is_wrong_or_a_session_over() {
    let away = |config: &mut gateway::Config| {
        config.peers.user = "http://127.0.0.1:1".parse().expect("a url");
    };
    let stage = Stage::set_with(Broker::Settles, away).await;
    let credentials = json!({ "email": "a@players.example", "password": "12345678" });
    is_unavailable(&stage, Method::POST, "/api/v1/sessions", Some(credentials)).await;
    for (method, path, body) in routes() {
        if path != "/api/v1/games/slots/pay-table" {
            is_unavailable(&stage, method, path, body).await;
        }
    }
}
