//! Requests without a token, with invalid tokens, and for another player's data, on every route.

use jsonwebtoken::Algorithm;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::stage::{Broker, INTERNAL_TOKEN, JWT_SECRET, OPERATOR_TOKEN, Stage, claims, problem, sign, token};

/// Every route that needs a token. `every_route_is_known` compares this list and the next with the router.
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
    ("delete", "/api/v1/sessions/current"),
];

/// Every route that needs no token.
const PUBLIC_ROUTES: [(&str, &str); 9] = [
    ("post", "/api/v1/players"),
    ("post", "/api/v1/sessions"),
    ("get", "/api/v1/games/slots/pay-table"),
    ("post", "/api/v1/webhooks/card-provider"),
    ("get", "/openapi.json"),
    ("get", "/"),
    ("get", "/app.js"),
    ("get", "/app.css"),
    ("get", "/favicon.svg"),
];

fn method(name: &str) -> Method {
    name.to_uppercase().parse().expect("a method")
}

/// A valid body for each write.
fn body(path: &str) -> Value {
    match path {
        "/api/v1/bets" => json!({ "game": "slots", "stake_minor": 100, "currency": "EUR" }),
        "/api/v1/me/limits" => json!({ "max_stake_minor": 100, "currency": "EUR" }),
        "/api/v1/me/self-exclusion" => json!({ "until_epoch_ms": 4_102_444_800_000_i64 }),
        _ => json!({ "amount_minor": 100, "currency": "EUR" }),
    }
}

/// Tries every method of every served path, so a new route fails here until it has a row.
#[tokio::test]
async fn every_route_is_known() {
    let stage = Stage::set(Broker::Silent).await;
    let paths = stage.gateway.paths();
    let known: Vec<_> = PLAYER_ROUTES.iter().chain(&PUBLIC_ROUTES).collect();
    for (_, path) in &known {
        assert!(paths.iter().any(|served| served == path), "{path} is not served: {paths:?}");
    }
    for path in &paths {
        for name in ["get", "post", "put", "patch", "delete", "options", "trace"] {
            let status = stage.request(method(name), path).send().await.expect("an answer").status();
            let served = status != StatusCode::METHOD_NOT_ALLOWED;
            assert_eq!(known.contains(&&(name, path.as_str())), served, "{name} {path} answered {status}");
        }
    }
}

#[test]
fn the_description_says_of_every_route_whether_it_needs_a_token() {
    use utoipa::OpenApi;
    let described = serde_json::to_value(gateway::Description::openapi()).expect("JSON");
    let paths = described["paths"].as_object().expect("paths");
    for (path, operations) in paths {
        for (name, operation) in operations.as_object().expect("operations") {
            let needs_token = operation.get("security").is_some();
            let known = if needs_token { &PLAYER_ROUTES[..] } else { &PUBLIC_ROUTES[..] };
            assert!(known.contains(&(name.as_str(), path.as_str())), "{name} {path} is tested by nobody");
        }
    }
    for (name, path) in PLAYER_ROUTES {
        assert!(paths.get(path).is_some_and(|operations| operations.get(name).is_some()), "{name} {path}");
    }
}

/// The operator's token and the internal token make no player, and no token opens an internal route through the gateway.
#[tokio::test]
async fn no_other_token_makes_a_player() {
    let stage = Stage::set(Broker::Settles).await;
    for (name, path) in PLAYER_ROUTES {
        for (header, token) in [("x-operator-token", OPERATOR_TOKEN), ("x-internal-token", INTERNAL_TOKEN)] {
            let request =
                stage.request(method(name), path).header("idempotency-key", "k").header(header, token);
            let request = if name == "get" { request } else { request.json(&body(path)) };
            let status = request.send().await.expect("an answer").status();
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{name} {path} with {header}");
        }
    }
    for path in ["/internal/v1/players/p-1", "/internal/v1/sessions/current"] {
        let request = stage.as_player(Method::GET, path).header("x-internal-token", INTERNAL_TOKEN);
        assert_eq!(request.send().await.expect("an answer").status(), StatusCode::NOT_FOUND, "{path}");
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
async fn every_route_of_a_player_needs_a_session_that_still_stands_and_is_their_own() {
    let stage = Stage::set(Broker::Settles).await;
    stage.behind.open_session("s-other", "p-2");
    stage.behind.end_session("s-1");
    let routes = PLAYER_ROUTES.iter().filter(|(name, _)| *name != "delete");
    let mut asked = 0;
    for session in ["s-1", "s-other", "s-unknown"] {
        for (name, path) in routes.clone() {
            let request = stage
                .request(method(name), path)
                .bearer_auth(token("p-1", session))
                .header("idempotency-key", "k");
            let request = if *name == "get" { request } else { request.json(&body(path)) };
            let answer = problem(request.send().await.expect("an answer")).await;
            assert_eq!(answer.0, 401, "{name} {path} in session {session}");
            asked += 1;
        }
    }
    assert!(stage.published().is_empty());
    assert_eq!(stage.behind.session_checks(), asked, "user was asked each time");
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
