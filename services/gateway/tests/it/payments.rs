//! Deposits, restrictions and the card provider's webhook.

use contracts::proto::payments::v1::{CommandConflict, RestrictionsApplied};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::stage::{Broker, PATIENCE, Stage, problem};

async fn deposit(stage: &Stage, key: &str, amount_minor: i64) -> reqwest::Response {
    let request = stage.as_player(Method::POST, "/api/v1/payments/deposits").header("idempotency-key", key);
    request.json(&json!({ "amount_minor": amount_minor, "currency": "EUR" })).send().await.expect("an answer")
}

#[tokio::test]
async fn a_deposit_is_answered_with_the_balance_and_repeats_its_bytes() {
    let stage = Stage::set(Broker::SettlesLater).await;
    let key = testkit::unique("k");
    let first = deposit(&stage, &key, 2_000).await;
    assert_eq!(first.status(), StatusCode::OK);
    let first = first.text().await.expect("a body");
    let id = stage.published()[0].id.to_string();
    let expected = json!({ "payment_id": id, "outcome": "completed", "amount_minor": 2000, "balance_minor": 2000, "currency": "EUR" });
    assert_eq!(serde_json::from_str::<Value>(&first).expect("JSON"), expected);
    assert_eq!(deposit(&stage, &key, 2_000).await.text().await.expect("a body"), first);
    stage.behind.know_payment(&id, json!({ "payment_id": id, "player_id": "p-1", "state": "completed", "amount_minor": 2000, "balance_minor": 2000, "currency": "EUR" }));
    let found =
        stage.as_player(Method::GET, &format!("/api/v1/payments/{id}")).send().await.expect("an answer");
    assert_eq!(found.text().await.expect("a body"), first, "GET shows the same bytes");
}

#[tokio::test]
async fn payments_conflict_is_a_422() {
    let stage = Stage::set_with(Broker::Silent, |config| config.bets.wait_ms = 60_000).await;
    let key = testkit::unique("k");
    let (answer, ()) = tokio::join!(deposit(&stage, &key, 100), async {
        let command =
            testkit::eventually("the command", PATIENCE, || async { stage.published().first().cloned() })
                .await;
        let known = json!({ "payment_id": command.id.to_string(), "player_id": "p-1", "state": "completed", "request_hash": "another" });
        stage.behind.know_payment(command.id.as_str(), known);
        let told = stage.gateway.hear(
            &CommandConflict {
                command_id: command.id.to_string(),
                command_type: command.message.event_type().as_str().to_owned(),
                player_id: "p-1".to_owned(),
            }
            .into(),
        );
        assert!(told);
    });
    assert_eq!(problem(answer).await, (422, "/problems/idempotency-conflict".to_owned()));
}

#[tokio::test]
async fn a_restriction_is_answered_when_the_ledger_enforces_it() {
    let stage = Stage::set_with(Broker::Silent, |config| config.bets.wait_ms = 1_000).await;
    let key = testkit::unique("k");
    let id = contracts::ids::command_id("p-1", "PUT /api/v1/me/limits", &key);
    let applied =
        RestrictionsApplied { player_id: "p-1".to_owned(), cause_id: format!("event-of-{id}") }.into();
    let limit = |key: String| {
        let request = stage.as_player(Method::PUT, "/api/v1/me/limits").header("idempotency-key", key);
        async {
            request
                .json(&json!({ "max_stake_minor": 500, "currency": "EUR" }))
                .send()
                .await
                .expect("an answer")
        }
    };
    // The event arrives before the request waits for it.
    assert!(!stage.gateway.hear(&applied));
    let answer = limit(key).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.json::<Value>().await.expect("JSON"), json!({ "status": "applied" }));

    let late = limit(testkit::unique("k")).await;
    assert_eq!(late.status(), StatusCode::ACCEPTED);
    assert_eq!(late.json::<Value>().await.expect("JSON"), json!({ "status": "pending" }));
    assert_eq!(stage.gateway.waiting(), 0);
}

#[tokio::test]
async fn the_webhook_reaches_payment_as_it_came_and_without_tokens() {
    let stage = Stage::set(Broker::Silent).await;
    let body = r#"{ "payment_id":"d-1",  "status":"captured" }"#;
    let answer = stage
        .request(Method::POST, "/api/v1/webhooks/card-provider")
        .header("x-card-signature", "t=1,v1=abc")
        .header("x-card-signature", "t=1,v1=def")
        .header("x-operator-token", "not for payment")
        .header("x-internal-token", "not for payment")
        .header("x-session-id", "not for payment")
        .header("authorization", "not for payment")
        .header("x-anything", "not for payment")
        .header("x-pitboss-fault", "not for payment")
        .header("cookie", "not for payment")
        .header("content-type", "application/json")
        .body(body)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    let (headers, arrived) = stage.behind.webhooks().remove(0);
    assert_eq!(arrived, body);
    let signatures: Vec<_> = headers.get_all("x-card-signature").iter().collect();
    assert_eq!(signatures, ["t=1,v1=abc", "t=1,v1=def"]);
    assert!(headers.values().all(|value| value != "not for payment"), "{headers:?}");
}
