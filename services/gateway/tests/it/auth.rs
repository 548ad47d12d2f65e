//! Requests without a token, with invalid tokens, and for another player's data, on every route.

use jsonwebtoken::Algorithm;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use utoipa::OpenApi;

use crate::harness::{
    Broker, INTERNAL_TOKEN, JWT_SECRET, OPERATOR_TOKEN, TestGateway, claims, json_of, problem, send, sign,
    token, valid_body,
};

/// Every route that needs a player's token. `every_route_is_listed` compares this list and the next two with the router.
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

/// Every route that needs the operator's token.
const OPERATOR_ROUTES: [(&str, &str); 5] = [
    ("get", "/api/v1/faults"),
    ("get", "/api/v1/faults/{fault_id}"),
    ("put", "/api/v1/faults/{fault_id}"),
    ("delete", "/api/v1/faults/{fault_id}"),
    ("post", "/api/v1/{service}/debug/{fault}"),
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

/// Tries every method of every served path, so a new route fails here until it has a row.
#[tokio::test]
async fn every_route_is_listed() {
    let gateway = TestGateway::start(Broker::Silent).await;
    let paths = gateway.standalone.paths();
    let listed: Vec<_> = PLAYER_ROUTES.iter().chain(&OPERATOR_ROUTES).chain(&PUBLIC_ROUTES).collect();
    for (_, path) in &listed {
        assert!(paths.iter().any(|served| served == path), "{path} is not served: {paths:?}");
    }
    for path in &paths {
        for name in ["get", "post", "put", "patch", "delete", "options", "trace"] {
            let status = send(gateway.request(method(name), path)).await.status();
            let served = status != StatusCode::METHOD_NOT_ALLOWED;
            assert_eq!(listed.contains(&&(name, path.as_str())), served, "{name} {path} returned {status}");
        }
    }
}

#[test]
fn description_states_which_routes_need_a_token() {
    let described = serde_json::to_value(gateway::Description::openapi()).expect("JSON");
    let paths = described["paths"].as_object().expect("paths");
    for (path, operations) in paths {
        for (name, operation) in operations.as_object().expect("operations") {
            let schemes = operation["security"][0].as_object().map(|schemes| schemes.keys().next());
            let listed = match schemes.flatten().map(String::as_str) {
                Some("player") => &PLAYER_ROUTES[..],
                Some("operator") => &OPERATOR_ROUTES[..],
                _ => &PUBLIC_ROUTES[..],
            };
            assert!(listed.contains(&(name.as_str(), path.as_str())), "{name} {path} is not listed");
        }
    }
    for (name, path) in PLAYER_ROUTES.into_iter().chain(OPERATOR_ROUTES) {
        assert!(paths.get(path).is_some_and(|operations| operations.get(name).is_some()), "{name} {path}");
    }
}

#[tokio::test]
async fn operators_route_needs_operators_token() {
    let gateway = TestGateway::start(Broker::Silent).await;
    for (name, path) in OPERATOR_ROUTES {
        let requests = [
            gateway.request(method(name), path),
            gateway.as_player(method(name), path),
            gateway.request(method(name), path).header("x-operator-token", "wrong"),
            gateway.request(method(name), path).header("x-internal-token", INTERNAL_TOKEN),
        ];
        for request in requests {
            assert_eq!(
                problem(send(request).await).await,
                (401, "/problems/unauthorized".to_owned()),
                "{path}"
            );
        }
        let concrete = path.replace("{fault_id}", "consumer.slow");
        let concrete = concrete.replace("{service}", "gateway").replace("{fault}", "error-parse");
        let request = gateway.request(method(name), &concrete).header("x-operator-token", OPERATOR_TOKEN);
        let status = send(request.json(&valid_body(path))).await.status();
        // This gateway has no file of armed faults, so only reading succeeds. A debug fault fails as it should.
        let expected = match name {
            "get" => StatusCode::OK,
            "post" => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        assert_eq!(status, expected, "{name} {path}");
    }
}

/// The operator's token and the internal token authenticate no player, and no token opens an internal route through the gateway.
#[tokio::test]
async fn other_tokens_authenticate_no_player() {
    let gateway = TestGateway::start(Broker::Settles).await;
    for (name, path) in PLAYER_ROUTES {
        for (header, token) in [("x-operator-token", OPERATOR_TOKEN), ("x-internal-token", INTERNAL_TOKEN)] {
            let request =
                gateway.request(method(name), path).header("idempotency-key", "k").header(header, token);
            let request = if name == "get" { request } else { request.json(&valid_body(path)) };
            assert_eq!(send(request).await.status(), StatusCode::UNAUTHORIZED, "{name} {path} with {header}");
        }
    }
    for path in ["/internal/v1/players/p-1", "/internal/v1/sessions/current"] {
        let request = gateway.as_player(Method::GET, path).header("x-internal-token", INTERNAL_TOKEN);
        assert_eq!(send(request).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

async fn assert_unauthorized(gateway: &TestGateway, case: &str, authorization: Option<&str>) {
    for (name, path) in PLAYER_ROUTES {
        let mut request = gateway.request(method(name), path).header("idempotency-key", "k");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        if name != "get" {
            request = request.json(&valid_body(path));
        }
        let refused = problem(send(request).await).await;
        assert_eq!(refused, (401, "/problems/unauthorized".to_owned()), "{name} {path} with {case}");
    }
}

#[tokio::test]
async fn invalid_tokens_are_refused_on_every_route() {
    let gateway = TestGateway::start(Broker::Settles).await;
    let bearer = |claims: &Value, secret, algorithm| format!("Bearer {}", sign(claims, secret, algorithm));
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut claims = claims("p-1", "s-1");
        change(&mut claims);
        bearer(&claims, JWT_SECRET, Algorithm::HS256)
    };
    let without = |name: &'static str| {
        changed(&move |claims| {
            claims.as_object_mut().expect("an object").remove(name);
        })
    };
    let valid = claims("p-1", "s-1");
    let cases = [
        ("an expired token", changed(&|claims| claims["exp"] = json!(1_000_000_000))),
        ("another audience", changed(&|claims| claims["aud"] = json!("others"))),
        ("another issuer", changed(&|claims| claims["iss"] = json!("others"))),
        ("no exp", without("exp")),
        ("no aud", without("aud")),
        ("no iss", without("iss")),
        ("no sub", without("sub")),
        ("no sid", without("sid")),
        ("another secret", bearer(&valid, "another secret, also long enough", Algorithm::HS256)),
        ("another algorithm", bearer(&valid, JWT_SECRET, Algorithm::HS512)),
        ("no algorithm", "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJwLTEifQ.".to_owned()),
        ("another scheme", "Basic cDE6cHc=".to_owned()),
        ("no token", "Bearer ".to_owned()),
    ];
    assert_unauthorized(&gateway, "no header", None).await;
    for (case, authorization) in &cases {
        assert_unauthorized(&gateway, case, Some(authorization)).await;
    }
    assert!(gateway.published().is_empty(), "no refused request was published");
    gateway.get_json("/api/v1/me").await;
}

#[tokio::test]
async fn session_must_be_open_and_the_players_own() {
    let gateway = TestGateway::start(Broker::Settles).await;
    gateway.peers.open_session("s-other", "p-2");
    gateway.peers.records().sessions.remove("s-1");
    let routes = PLAYER_ROUTES.iter().filter(|(name, _)| *name != "delete");
    let mut requests = 0;
    for session in ["s-1", "s-other", "s-unknown"] {
        for (name, path) in routes.clone() {
            let request = gateway.request(method(name), path).bearer_auth(token("p-1", session));
            let request = request.header("idempotency-key", "k");
            let request = if *name == "get" { request } else { request.json(&valid_body(path)) };
            assert_eq!(problem(send(request).await).await.0, 401, "{name} {path} in session {session}");
            requests += 1;
        }
    }
    assert!(gateway.published().is_empty());
    assert_eq!(gateway.peers.records().session_checks, requests, "each request checked the session");
}

#[tokio::test]
async fn other_players_bets_and_payments_are_not_found() {
    let gateway = TestGateway::start(Broker::Settles).await;
    gateway.peers.set_bet("b-2", json!({ "bet_id": "b-2", "player_id": "p-2", "state": "settled", "reels": ["bar", "bar", "bar"], "payout_minor": 0 }));
    gateway
        .peers
        .set_payment("d-2", json!({ "payment_id": "d-2", "player_id": "p-2", "state": "completed" }));
    for path in
        ["/api/v1/bets/b-2", "/api/v1/payments/d-2", "/api/v1/bets/unknown", "/api/v1/payments/unknown"]
    {
        let not_own = send(gateway.as_player(Method::GET, path)).await;
        assert_eq!(problem(not_own).await, (404, "/problems/not-found".to_owned()), "{path}");
    }
    for path in ["/api/v1/bets/b-2", "/api/v1/payments/d-2"] {
        let own = gateway.request(Method::GET, path).bearer_auth(token("p-2", "s-2"));
        assert_eq!(send(own).await.status(), StatusCode::OK, "{path} for its owner");
    }
}

#[tokio::test]
async fn token_selects_the_player() {
    let gateway = TestGateway::start(Broker::Settles).await;
    assert_eq!(gateway.get_json("/api/v1/me").await["player_id"], "p-1");
    let bet = json!({ "bet_id": "a bet of p-1", "outcome": "settled", "payout_minor": 0, "at_epoch_ms": 1 });
    gateway.peers.set_history("p-1", vec![bet]);
    let bets = gateway.get_json("/api/v1/me/bets?limit=7").await;
    assert_eq!(bets["bets"][0]["bet_id"], "a bet of p-1");
    let balance = gateway.get_json("/api/v1/me/balance").await;
    assert_eq!(balance, json!({ "balances": { "EUR": 1234 } }));
    let newcomer = gateway.request(Method::GET, "/api/v1/me/balance").bearer_auth(token("p-2", "s-2"));
    let balance = json_of(send(newcomer).await).await;
    assert_eq!(balance, json!({ "balances": {} }), "the ledger does not know this player yet");
}

#[tokio::test]
async fn repeated_log_in_returns_the_same_valid_token() {
    let gateway = TestGateway::start(Broker::Settles).await;
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let request = gateway.request(Method::POST, "/api/v1/sessions").header("idempotency-key", "k");
        let credentials = json!({ "email": "a@players.example", "password": "correct horse" });
        let response = send(request.json(&credentials)).await;
        assert_eq!(response.status(), StatusCode::CREATED);
        tokens.push(json_of(response).await["token"].as_str().expect("a token").to_owned());
    }
    assert_eq!(tokens[0], tokens[1]);
    let me = gateway.request(Method::GET, "/api/v1/me").bearer_auth(&tokens[0]);
    assert_eq!(send(me).await.status(), StatusCode::OK);
}
