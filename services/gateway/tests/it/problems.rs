//! Pins the wire format of errors, because clients decide on `type`.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::harness::{Broker, TIMEOUT, TestGateway, send, token};

/// Status and body, with values that change from run to run replaced.
async fn stable(request: RequestBuilder) -> Value {
    let response = send(request).await;
    let status = response.status().as_u16();
    let trace_in_header = response.headers().get("x-trace-id").is_some();
    let mut body: Value = response.json().await.expect("JSON");
    if let Some(trace_id) = body.get_mut("trace_id") {
        *trace_id = json!("[trace]");
    }
    if let Some(event) = body.get_mut("sentry_event_id") {
        *event = json!("[event]");
    }
    json!({ "status": status, "x-trace-id": trace_in_header, "body": body })
}

#[tokio::test]
async fn problems_keep_their_form() {
    let gateway = TestGateway::start(Broker::Refuses).await;
    let bet =
        |key: &str| gateway.as_player(Method::POST, "/api/v1/bets").header("idempotency-key", key.to_owned());
    let good = json!({ "game": "slots", "stake_minor": 100, "currency": "EUR" });
    let register = gateway.request(Method::POST, "/api/v1/players").header("idempotency-key", "k");
    let cases = [
        ("no token", gateway.request(Method::GET, "/api/v1/me")),
        ("no such path", gateway.request(Method::GET, "/api/v1/nothing")),
        ("another method", gateway.request(Method::DELETE, "/api/v1/bets")),
        ("no key", gateway.as_player(Method::POST, "/api/v1/bets").json(&good)),
        ("not JSON", bet("k").header("content-type", "application/json").body("{")),
        ("no content type", bet("k").body("{}")),
        ("an unknown field", bet("k").json(&json!({ "game": "slots", "stake_minor": 100, "currency": "EUR", "payout_minor": 1 }))),
        ("an unknown currency", bet("k").json(&json!({ "game": "slots", "stake_minor": 100, "currency": "XXX" }))),
        ("a stake of zero", bet("k").json(&json!({ "game": "slots", "stake_minor": 0, "currency": "EUR" }))),
        ("a body that is too large", bet("k").header("content-type", "application/json").body(" ".repeat(20_000))),
        ("an address that is taken", register.json(&json!({ "email": "taken@players.example", "password": "12345678", "display_name": "A", "currency": "EUR" }))),
        ("not acknowledged", bet(&testkit::unique("k")).json(&good)),
    ];
    for (name, request) in cases {
        insta::assert_json_snapshot!(name.replace(' ', "_"), stable(request).await);
    }
}

/// The head decides these. An answer before the body would close the connection of a client that is still sending.
#[tokio::test]
async fn early_answers_keep_their_connection() {
    let gateway = TestGateway::start(Broker::Settles).await;
    testkit::eventually("answers after their bodies", TIMEOUT, || early_answers(&gateway)).await;
}

/// Gets each early answer on one connection. `None` when a body was too late.
async fn early_answers(gateway: &TestGateway) -> Option<()> {
    let mut connection = gateway.connect().await;
    let player = format!("Authorization: Bearer {}\r\n", token("p-1", "s-1"));
    for (lines, status) in [
        ("POST /api/v1/bets HTTP/1.1\r\n".to_owned(), 401),
        (format!("POST /api/v1/bets HTTP/1.1\r\n{player}"), 400),
        (format!("POST /api/v1/bets HTTP/1.1\r\n{player}Idempotency-Key: k\r\n"), 415),
        ("PUT /api/v1/faults/consumer.slow HTTP/1.1\r\n".to_owned(), 401),
        ("POST /no/such/path HTTP/1.1\r\n".to_owned(), 404),
        ("DELETE /api/v1/bets HTTP/1.1\r\n".to_owned(), 405),
    ] {
        let answer = gateway.with_late_body(&mut connection, &lines).await?;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{lines:?}: {answer:?}");
        assert!(answer.contains("x-trace-id") && !answer.contains("connection: close"), "{answer:?}");
    }
    Some(())
}
