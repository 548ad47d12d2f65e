//! Pins the wire format of errors, because clients decide on `type`.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::stage::{Broker, Stage};

/// Status and body, with values that change from run to run replaced.
async fn shown(request: RequestBuilder) -> Value {
    let response = request.send().await.expect("an answer");
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
async fn every_kind_of_problem_has_its_form() {
    let stage = Stage::set(Broker::Refuses).await;
    let bet =
        |key: &str| stage.as_player(Method::POST, "/api/v1/bets").header("idempotency-key", key.to_owned());
    let good = json!({ "game": "slots", "stake_minor": 100, "currency": "EUR" });
    let register = stage.request(Method::POST, "/api/v1/players").header("idempotency-key", "k");
    let cases = [
        ("no token", stage.request(Method::GET, "/api/v1/me")),
        ("no such path", stage.request(Method::GET, "/api/v1/nothing")),
        ("another method", stage.request(Method::DELETE, "/api/v1/bets")),
        ("no key", stage.as_player(Method::POST, "/api/v1/bets").json(&good)),
        ("not JSON", bet("k").header("content-type", "application/json").body("{")),
        ("not said to be JSON", bet("k").body("{}")),
        ("an unknown field", bet("k").json(&json!({ "game": "slots", "stake_minor": 100, "currency": "EUR", "payout_minor": 1 }))),
        ("an unknown currency", bet("k").json(&json!({ "game": "slots", "stake_minor": 100, "currency": "XXX" }))),
        ("a stake of nothing", bet("k").json(&json!({ "game": "slots", "stake_minor": 0, "currency": "EUR" }))),
        ("a body that is too large", bet("k").header("content-type", "application/json").body(" ".repeat(20_000))),
        ("an address that is taken", register.json(&json!({ "email": "taken@players.example", "password": "12345678", "display_name": "A", "currency": "EUR" }))),
        ("not acknowledged", bet(&testkit::unique("k")).json(&good)),
    ];
    for (name, request) in cases {
        insta::assert_json_snapshot!(name.replace(' ', "_"), shown(request).await);
    }
}
