//! Every route × {no token, spoilt tokens, another player's}: nobody reads or bets for another.

use jsonwebtoken::Algorithm;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::stage::{Broker, JWT_SECRET, Stage, claims, problem, sign, token};

/// Every route that needs a token. `public_routes_are_known` holds this list and the next against the interface's description.
const PLAYER_ROUTES: [(&str, &str); 11] = [
    ("get", "/api/v1/me"),
    ("get", "/api/v1/me/balance"),
    ("get", "/api/v1/me/bets"),
    ("put", "/api/v1/me/limits"),
    ("post", "/api/v1/me/self-exclusion"),
    ("post", "/api/v1/payments/deposits"),
    ("post", "/api/v1/payments/withdrawals"),
    ("get", "/api/v1/payments/{payment_id}"),
    ("post", "/api/v1/bets"),
    ("get", "/api/v1/bets/{bet_id}"),
    ("get", "/api/v1/me/bets?limit=1000"),
];

/// Every route of the interface that does not.
const PUBLIC_ROUTES: [(&str, &str); 4] = [
    ("post", "/api/v1/players"),
    ("post", "/api/v1/sessions"),
    ("get", "/api/v1/games/slots/pay-table"),
    ("post", "/api/v1/webhooks/card-provider"),
];

fn method(name: &str) -> Method {
    name.to_uppercase().parse().expect("a method")
}

/// A body that every write would take, were it allowed.
fn body(path: &str) -> Value {
    match path {
        "/api/v1/bets" => json!({ "game": "slots", "stake_minor": 100, "currency": "EUR" }),
        "/api/v1/me/limits" => json!({ "max_stake_minor": 100, "currency": "EUR" }),
        "/api/v1/me/self-exclusion" => json!({ "until_epoch_ms": 4_102_444_800_000_i64 }),
        _ => json!({ "amount_minor": 100, "currency": "EUR" }),
    }
}

#[test]
fn public_routes_are_known() {
    use utoipa::OpenApi;
    let described = serde_json::to_value(gateway::Description::openapi()).expect("JSON");
    for (path, operations) in described["paths"].as_object().expect("paths") {
        for (name, operation) in operations.as_object().expect("operations") {
            let needs_token = operation.get("security").is_some();
            let known = if needs_token { &PLAYER_ROUTES[..] } else { &PUBLIC_ROUTES[..] };
            assert!(known.contains(&(name.as_str(), path.as_str())), "{name} {path} is tested by nobody");
        }
    }
}

async fn every_player_route_refuses(stage: &Stage, what: &str, authorization: Option<&str>) {
    for (name, path) in PLAYER_ROUTES {
        let mut request = stage.request(method(name), path).header("idempotency-key", "k");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        if name != "get" {
            request = request.json(&body(path));
        }
        let answer = problem(request.send().await.expect("an answer")).await;
        assert_eq!(answer, (401, "/problems/unauthorized".to_owned()), "{name} {path} with {what}");
    }
}

#[tokio::test]
async fn no_route_of_a_player_answers_without_a_good_token() {
    let stage = Stage::set(Broker::Settles).await;
    let spoil = |change: &dyn Fn(&mut Value)| {
        let mut claims = claims("p-1", "s-1");
        change(&mut claims);
        format!("Bearer {}", sign(&claims, JWT_SECRET, Algorithm::HS256))
    };
    let without = |name: &'static str| {
        spoil(&move |claims| {
            claims.as_object_mut().expect("an object").remove(name);
        })
    };
    let none_algorithm = "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJwLTEifQ.".to_owned();
    let spoilt = [
        ("an expired token", spoil(&|claims| claims["exp"] = json!(1_000_000_000))),
        ("another audience", spoil(&|claims| claims["aud"] = json!("others"))),
        ("another issuer", spoil(&|claims| claims["iss"] = json!("others"))),
        ("no exp", without("exp")),
        ("no aud", without("aud")),
        ("no iss", without("iss")),
        ("no sub", without("sub")),
        ("no sid", without("sid")),
        (
            "another secret",
            format!(
                "Bearer {}",
                sign(&claims("p-1", "s-1"), "another secret, also long enough", Algorithm::HS256)
            ),
        ),
        (
            "another algorithm",
            format!("Bearer {}", sign(&claims("p-1", "s-1"), JWT_SECRET, Algorithm::HS512)),
        ),
        ("no algorithm", none_algorithm),
        ("another scheme", "Basic cDE6cHc=".to_owned()),
        ("no token", "Bearer ".to_owned()),
    ];
    every_player_route_refuses(&stage, "no header", None).await;
    for (what, authorization) in &spoilt {
        every_player_route_refuses(&stage, what, Some(authorization)).await;
    }
    assert!(stage.published().is_empty(), "nothing was published for nobody");
    let good = stage.as_player(Method::GET, "/api/v1/me").send().await.expect("an answer");
    assert_eq!(good.status(), StatusCode::OK, "the unspoilt token does work");
}

#[tokio::test]
async fn money_needs_a_session_that_still_stands_and_is_the_players_own() {
    let stage = Stage::set(Broker::Settles).await;
    stage.behind.open_session("s-other", "p-2");
    stage.behind.end_session("s-1");
    for session in ["s-1", "s-other", "s-unknown"] {
        for path in ["/api/v1/bets", "/api/v1/payments/deposits", "/api/v1/payments/withdrawals"] {
            let request = stage
                .request(Method::POST, path)
                .bearer_auth(token("p-1", session))
                .header("idempotency-key", "k");
            let answer = problem(request.json(&body(path)).send().await.expect("an answer")).await;
            assert_eq!(answer.0, 401, "{path} in session {session}");
        }
    }
    assert!(stage.published().is_empty());
    assert_eq!(stage.behind.session_checks(), 9, "user was asked each time");
}

#[tokio::test]
async fn a_bet_and_a_payment_of_another_player_do_not_exist() {
    let stage = Stage::set(Broker::Settles).await;
    stage.behind.know_bet("b-2", json!({ "bet_id": "b-2", "player_id": "p-2", "state": "settled", "reels": ["bar", "bar", "bar"], "payout_minor": 0 }));
    stage
        .behind
        .know_payment("d-2", json!({ "payment_id": "d-2", "player_id": "p-2", "state": "completed" }));
    for path in
        ["/api/v1/bets/b-2", "/api/v1/payments/d-2", "/api/v1/bets/unknown", "/api/v1/payments/unknown"]
    {
        let mine = stage.as_player(Method::GET, path).send().await.expect("an answer");
        assert_eq!(problem(mine).await, (404, "/problems/not-found".to_owned()), "{path}");
    }
    for path in ["/api/v1/bets/b-2", "/api/v1/payments/d-2"] {
        let theirs = stage
            .request(Method::GET, path)
            .bearer_auth(token("p-2", "s-2"))
            .send()
            .await
            .expect("an answer");
        assert_eq!(theirs.status(), StatusCode::OK, "{path} for its owner");
    }
}

#[tokio::test]
async fn a_player_is_who_the_token_says() {
    let stage = Stage::set(Broker::Settles).await;
    let me: Value = stage
        .as_player(Method::GET, "/api/v1/me")
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    assert_eq!(me["player_id"], "p-1");
    let bet = json!({ "bet_id": "a bet of p-1", "outcome": "settled", "payout_minor": 0, "at_epoch_ms": 1 });
    stage.behind.know_history("p-1", vec![bet]);
    let bets: Value = stage
        .as_player(Method::GET, "/api/v1/me/bets?limit=7")
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    assert_eq!(bets["bets"][0]["bet_id"], "a bet of p-1");
    let balance: Value = stage
        .as_player(Method::GET, "/api/v1/me/balance")
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    assert_eq!(balance, json!({ "balances": { "EUR": 1234 } }));
    let newcomer = stage.request(Method::GET, "/api/v1/me/balance").bearer_auth(token("p-2", "s-2"));
    let balance: Value = newcomer.send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(balance, json!({ "balances": {} }), "the ledger has not met this player");
}

#[tokio::test]
async fn the_token_of_a_log_in_is_good_and_the_same_for_the_same_session() {
    let stage = Stage::set(Broker::Settles).await;
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let request = stage.request(Method::POST, "/api/v1/sessions").header("idempotency-key", "k");
        let answer = request
            .json(&json!({ "email": "a@players.example", "password": "correct horse" }))
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), StatusCode::CREATED);
        let session: Value = answer.json().await.expect("JSON");
        tokens.push(session["token"].as_str().expect("a token").to_owned());
    }
    assert_eq!(tokens[0], tokens[1]);
    let me =
        stage.request(Method::GET, "/api/v1/me").bearer_auth(&tokens[0]).send().await.expect("an answer");
    assert_eq!(me.status(), StatusCode::OK);
}
