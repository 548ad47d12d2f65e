//! Failures of the internal services, and the responses to the player.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::harness::{Broker, TestGateway, json_of, problem, send, valid_body};

/// Every route that calls an internal service for more than the session check.
const ROUTES: [(Method, &str); 10] = [
    (Method::GET, "/api/v1/me"),
    (Method::GET, "/api/v1/me/balance"),
    (Method::GET, "/api/v1/me/bets"),
    (Method::PUT, "/api/v1/me/limits"),
    (Method::POST, "/api/v1/me/self-exclusion"),
    (Method::GET, "/api/v1/bets/b-1"),
    (Method::GET, "/api/v1/payments/p-1"),
    (Method::GET, "/api/v1/games/slots/pay-table"),
    (Method::POST, "/api/v1/players"),
    (Method::DELETE, "/api/v1/sessions/current"),
];

async fn assert_unavailable(gateway: &TestGateway, method: Method, path: &str) {
    let request = gateway.as_player(method.clone(), path).header("idempotency-key", testkit::unique("k"));
    let has_body = method == Method::PUT || method == Method::POST;
    let request = if has_body { request.json(&valid_body(path)) } else { request };
    let refused = problem(send(request).await).await;
    assert_eq!(refused, (503, "/problems/unavailable".to_owned()), "{method} {path}");
}

/// Neither a player nor the card provider can correct this. The response asks for no other password and no other signature.
#[tokio::test]
async fn rejected_internal_token_is_a_503() {
    let gateway = TestGateway::start(Broker::Settles).await;
    gateway.peers.records().token_changed = true;
    let with_own_401 =
        ["/api/v1/sessions", "/api/v1/webhooks/card-provider"].map(|path| (Method::POST, path));
    for (method, path) in ROUTES.into_iter().chain(with_own_401) {
        assert_unavailable(&gateway, method, path).await;
    }
}

#[tokio::test]
async fn rejected_session_check_is_a_503() {
    let other_token = |config: &mut gateway::Config| {
        config.security.internal_token = "another internal token of the tests".into();
    };
    let gateway = TestGateway::start_with(Broker::Settles, other_token).await;
    assert_unavailable(&gateway, Method::GET, "/api/v1/me").await;
    assert_unavailable(&gateway, Method::POST, "/api/v1/bets").await;
    assert!(gateway.published().is_empty(), "a bet needs a checked session");
}

#[tokio::test]
async fn wrong_password_is_a_401() {
    let gateway = TestGateway::start(Broker::Settles).await;
    let credentials = json!({ "email": "wrong@players.example", "password": "12345678" });
    let request = gateway.request(Method::POST, "/api/v1/sessions").header("idempotency-key", "k");
    let refused = send(request.json(&credentials)).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let body = json_of(refused).await;
    assert_eq!(
        (&body["type"], &body["detail"]),
        (&json!("/problems/unauthorized"), &json!("the password is wrong"))
    );
}

#[tokio::test]
async fn forged_webhook_is_a_401() {
    let gateway = TestGateway::start(Broker::Silent).await;
    let request = gateway.request(Method::POST, "/api/v1/webhooks/card-provider");
    let refused = send(request.header("x-card-signature", "forged").body("{}")).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
}

/// An unreachable user service says nothing about a password or a session.
#[tokio::test]
async fn unreachable_user_service_is_a_503() {
    let unreachable = |config: &mut gateway::Config| {
        config.peers.user = "http://127.0.0.1:1".parse().expect("a url");
    };
    let gateway = TestGateway::start_with(Broker::Settles, unreachable).await;
    assert_unavailable(&gateway, Method::POST, "/api/v1/sessions").await;
    for (method, path) in ROUTES {
        if path != "/api/v1/games/slots/pay-table" {
            assert_unavailable(&gateway, method, path).await;
        }
    }
}
