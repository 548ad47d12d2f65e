//! Deposits, restrictions and the card provider's webhook.

use contracts::proto::payments::v1::{CommandConflict, RestrictionsApplied};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Broker, TIMEOUT, TestGateway, json_of, problem, send, valid_body, without_redis};

async fn deposit(gateway: &TestGateway, key: &str, amount_minor: i64) -> reqwest::Response {
    let request = gateway.as_player(Method::POST, "/api/v1/payments/deposits").header("idempotency-key", key);
    send(request.json(&json!({ "amount_minor": amount_minor, "currency": "EUR" }))).await
}

#[tokio::test]
async fn repeated_deposit_returns_same_bytes() {
    let gateway = TestGateway::start(Broker::SettlesLater).await;
    let key = testkit::unique("k");
    let first = deposit(&gateway, &key, 2_000).await;
    assert_eq!(first.status(), StatusCode::OK);
    let first = first.text().await.expect("a body");
    let id = gateway.published()[0].id.to_string();
    let expected = json!({ "payment_id": id, "outcome": "completed", "amount_minor": 2000, "balance_minor": 2000, "currency": "EUR" });
    assert_eq!(serde_json::from_str::<Value>(&first).expect("JSON"), expected);
    assert_eq!(deposit(&gateway, &key, 2_000).await.text().await.expect("a body"), first);
    gateway.peers.set_payment(&id, json!({ "payment_id": id, "player_id": "p-1", "state": "completed", "amount_minor": 2000, "balance_minor": 2000, "currency": "EUR" }));
    let found = send(gateway.as_player(Method::GET, &format!("/api/v1/payments/{id}"))).await;
    assert_eq!(found.text().await.expect("a body"), first, "GET shows the same bytes");
}

#[tokio::test]
async fn conflict_of_a_payment_is_a_422() {
    let gateway = TestGateway::start_with(Broker::Silent, |config| config.bets.wait_ms = 60_000).await;
    let key = testkit::unique("k");
    let (answer, ()) = tokio::join!(deposit(&gateway, &key, 100), async {
        let command = gateway.first_command().await;
        let known = json!({ "payment_id": command.id.to_string(), "player_id": "p-1", "state": "completed", "request_hash": "another" });
        gateway.peers.set_payment(command.id.as_str(), known);
        let conflict = CommandConflict {
            command_id: command.id.to_string(),
            command_type: command.message.event_type().as_str().to_owned(),
            player_id: "p-1".to_owned(),
        };
        assert!(gateway.standalone.receive(&conflict.into()));
    });
    assert_eq!(problem(answer).await, (422, "/problems/idempotency-conflict".to_owned()));
}

#[tokio::test]
async fn limit_is_confirmed_once_enforced() {
    let gateway = TestGateway::start_with(Broker::Silent, |config| config.bets.wait_ms = 1_000).await;
    let key = testkit::unique("k");
    let id = contracts::ids::command_id("p-1", "PUT /api/v1/me/limits", &key);
    let applied =
        RestrictionsApplied { player_id: "p-1".to_owned(), cause_id: format!("event-of-{id}") }.into();
    let limit = |key: String| {
        let request = gateway.as_player(Method::PUT, "/api/v1/me/limits").header("idempotency-key", key);
        send(request.json(&json!({ "max_stake_minor": 500, "currency": "EUR" })))
    };
    // The event arrives before the request waits for it.
    assert!(!gateway.standalone.receive(&applied));
    let confirmed = limit(key).await;
    assert_eq!(confirmed.status(), StatusCode::OK);
    assert_eq!(json_of(confirmed).await, json!({ "status": "applied" }));

    let late = limit(testkit::unique("k")).await;
    assert_eq!(late.status(), StatusCode::ACCEPTED);
    assert_eq!(json_of(late).await, json!({ "status": "pending" }));
    assert_eq!(gateway.standalone.waiting(), 0);
}

/// The event came long ago, and Redis has lost the reply. The payment service still knows the restriction.
#[tokio::test]
async fn old_restriction_is_looked_up() {
    let gateway = TestGateway::start_with(Broker::Silent, without_redis).await;
    let applied = json!({ "status": "applied" });
    let writes = [
        (Method::PUT, "/api/v1/me/limits", "PUT /api/v1/me/limits"),
        (Method::POST, "/api/v1/me/self-exclusion", "POST /api/v1/me/self-exclusion"),
    ];
    for (method, path, route) in writes {
        let key = testkit::unique("k");
        let repeat = || {
            let request = gateway.as_player(method.clone(), path).header("idempotency-key", key.as_str());
            send(request.json(&valid_body(path)))
        };
        let cause = format!("event-of-{}", contracts::ids::command_id("p-1", route, &key));
        gateway.peers.set_restriction(&cause, "p-2");
        assert_eq!(repeat().await.status(), StatusCode::ACCEPTED, "{path}: that of another player");
        gateway.peers.set_restriction(&cause, "p-1");
        let answer = testkit::eventually("the ledger's answer", TIMEOUT, || async {
            Some(repeat().await).filter(|answer| answer.status() != StatusCode::ACCEPTED)
        })
        .await;
        assert_eq!((answer.status(), json_of(answer).await), (StatusCode::OK, applied.clone()), "{path}");
    }
}

#[tokio::test]
async fn webhook_is_forwarded_unchanged_without_tokens() {
    let gateway = TestGateway::start(Broker::Silent).await;
    let body = r#"{ "payment_id":"d-1",  "status":"captured" }"#;
    let answer = gateway
        .request(Method::POST, "/api/v1/webhooks/card-provider")
        .header("x-card-signature", "t=1,v1=abc")
        .header("x-card-signature", "t=1,v1=def")
        .header("x-operator-token", "not for the payment service")
        .header("x-internal-token", "not for the payment service")
        .header("x-session-id", "not for the payment service")
        .header("authorization", "not for the payment service")
        .header("x-anything", "not for the payment service")
        .header("x-pitboss-fault", "not for the payment service")
        .header("cookie", "not for the payment service")
        .header("content-type", "application/json")
        .body(body)
        .send()
        .await
        .expect("a response");
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let (headers, arrived) = gateway.peers.records().webhooks.remove(0);
    assert_eq!(arrived, body);
    let signatures: Vec<_> = headers.get_all("x-card-signature").iter().collect();
    assert_eq!(signatures, ["t=1,v1=abc", "t=1,v1=def"]);
    assert!(headers.values().all(|value| value != "not for the payment service"), "{headers:?}");
}
