//! The OpenAPI description, its checked-in copy, the served routes and their responses are the same.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};
use utoipa::OpenApi;

use crate::harness::{Broker, OPERATOR_TOKEN, TestGateway, send, token, valid_body};

fn description() -> Value {
    serde_json::to_value(gateway::Description::openapi()).expect("JSON")
}

/// Every operation of the description, as (method, path, operation).
fn operations(description: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = description["paths"].as_object().expect("paths").iter();
    let all = paths.flat_map(|(path, operations)| {
        let operations = operations.as_object().expect("operations").iter();
        operations.map(move |(method, operation)| (method.as_str(), path.as_str(), operation))
    });
    all.collect()
}

#[test]
fn checked_in_description_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/openapi.yaml");
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        let as_yaml = serde_yaml_ng::to_string(&gateway::Description::openapi()).expect("YAML");
        std::fs::write(&path, &as_yaml).expect("writes");
    }
    let checked_in = std::fs::read_to_string(&path).expect("schemas/openapi.yaml exists");
    let checked_in: Value = serde_yaml_ng::from_str(&checked_in).expect("YAML");
    assert_eq!(
        checked_in,
        description(),
        "to update schemas/openapi.yaml run `UPDATE_SCHEMAS=1 ./pitboss test -p gateway openapi`"
    );
}

#[tokio::test]
async fn described_operations_are_served() {
    let gateway = TestGateway::start(Broker::Silent).await;
    let served = gateway.get_json("/openapi.json").await;
    let operations = operations(&served);
    assert!(operations.len() >= 15, "{} operations", operations.len());
    for (name, path, _) in operations {
        let method: Method = name.to_uppercase().parse().expect("a method");
        let status = send(gateway.request(method, path)).await.status().as_u16();
        assert!(status != 404 && status != 405, "{name} {path} returned {status}");
    }
}

/// A body without a schema could change without a difference in the description.
#[test]
fn every_body_has_a_schema() {
    let description = description();
    let is_typed = |content: &Value| {
        let name = content["schema"]["$ref"].as_str().and_then(|to| to.strip_prefix("#/components/schemas/"));
        let schema = name.map_or(&Value::Null, |name| &description["components"]["schemas"][name]);
        let has_parts = ["properties", "allOf"].iter().any(|part| !schema[part].is_null());
        has_parts.then(|| name.unwrap_or_default().to_owned())
    };
    for (method, path, operation) in operations(&description) {
        let responses = operation["responses"].as_object().expect("responses");
        for (status, response) in responses {
            let case = format!("{method} {path} {status}");
            let bodies = response["content"].as_object();
            let names: Vec<_> =
                bodies.into_iter().flat_map(|contents| contents.values().map(is_typed)).collect();
            assert!(names.iter().all(Option::is_some), "{case} has a body without a schema");
            if status.starts_with(['4', '5']) {
                let problem = &response["content"]["application/problem+json"];
                assert_eq!(is_typed(problem).as_deref(), Some("Problem"), "{case}");
            }
        }
        for status in ["429", "500", "503"] {
            assert!(responses.contains_key(status), "{method} {path} does not describe {status}");
        }
        if let Some(contents) = operation["requestBody"]["content"].as_object() {
            assert!(contents.values().all(|content| is_typed(content).is_some()), "body of {method} {path}");
        }
    }
}

/// Asserts that a body has exactly the described members.
fn assert_described(description: &Value, case: &str, response: &Value, content_type: &str, body: &Value) {
    let schema = &response["content"][content_type]["schema"];
    assert!(schema.is_object(), "{case} does not describe its {content_type}: {body}");
    let components = &description["components"];
    let schema = json!({ "allOf": [schema], "unevaluatedProperties": false, "components": components });
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let errors: Vec<_> = validator.iter_errors(body).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{case}: {errors:?} in {body}");
}

/// A path with values that exist.
fn concrete_path(path: &str) -> String {
    let path = path.replace("{bet_id}", "b-1").replace("{payment_id}", "d-1");
    let path = path.replace("{service}", "gateway").replace("{fault}", "error-parse");
    path.replace("{fault_id}", "consumer.slow")
}

/// Sends each operation with a body two invalid ones, and compares the responses with their schemas.
#[tokio::test]
async fn responses_to_invalid_bodies_are_described() {
    let description = description();
    let gateway = TestGateway::start(Broker::Settles).await;
    let mut operations = operations(&description);
    // The card provider's body is only forwarded.
    operations.retain(|(_, path, operation)| {
        operation.get("requestBody").is_some() && *path != "/api/v1/webhooks/card-provider"
    });
    assert!(operations.len() >= 8, "{} operations", operations.len());
    for (name, path, operation) in operations {
        for (body, expected) in [("{", "bad-request"), ("\"no object\"", "invalid-body")] {
            let method: Method = name.to_uppercase().parse().expect("a method");
            let concrete = concrete_path(path);
            let request = gateway.as_player(method, &concrete).header("content-type", "application/json");
            let request = request.header("idempotency-key", testkit::unique("k"));
            let request = request.header("x-operator-token", OPERATOR_TOKEN).body(body);
            let response = send(request).await;
            let status = response.status().as_u16().to_string();
            let problem: Value = response.json().await.expect("JSON");
            let case = format!("{name} {path} {status} for {body}");
            assert_eq!(problem["type"], format!("/problems/{expected}"), "{case}");
            let described = &operation["responses"][&status];
            assert_described(&description, &case, described, "application/problem+json", &problem);
        }
    }
}

/// Calls every operation with a valid and an invalid token and compares the responses with their schemas.
#[tokio::test]
async fn responses_match_their_schemas() {
    let description = description();
    // The limit and the exclusion are never confirmed, so they wait for this long.
    let gateway = TestGateway::start_with(Broker::Settles, |config| config.bets.wait_ms = 1_000).await;
    gateway.peers.set_bet("b-1", json!({ "bet_id": "b-1", "player_id": "p-1", "state": "settled", "reels": ["bar", "bar", "bar"], "payout_minor": 0 }));
    gateway
        .peers
        .set_payment("d-1", json!({ "payment_id": "d-1", "player_id": "p-1", "state": "completed" }));
    let won = json!({ "bet_id": "b-1", "game": "slots", "outcome": "settled", "stake_minor": 100, "payout_minor": 500, "at_epoch_ms": 1 });
    gateway.peers.set_history("p-1", vec![won]);
    let mut bodies = 0;
    // In the order of the paths, so the log-out comes after the requests that need the session.
    for (name, path, operation) in operations(&description) {
        let method: Method = name.to_uppercase().parse().expect("a method");
        let concrete = concrete_path(path);
        for token in [token("p-1", "s-1"), "invalid".to_owned()] {
            let mut request = gateway.request(method.clone(), &concrete).bearer_auth(&token);
            if token != "invalid" && operation["security"][0].get("operator").is_some() {
                request = request.header("x-operator-token", OPERATOR_TOKEN);
            }
            if operation.get("requestBody").is_some() {
                request = request.header("idempotency-key", testkit::unique("k")).json(&valid_body(path));
            }
            let response = send(request).await;
            let status = response.status().as_u16();
            let content_type = response.headers().get("content-type").cloned();
            let body = response.bytes().await.expect("a body");
            let described = &operation["responses"][status.to_string()];
            assert!(described.is_object(), "{name} {path} does not describe {status}");
            if !body.is_empty() {
                let body: Value = serde_json::from_slice(&body).expect("JSON");
                let content_type = content_type.as_ref().and_then(|value| value.to_str().ok());
                let case = format!("{name} {path} {status}");
                assert_described(&description, &case, described, content_type.unwrap_or_default(), &body);
                bodies += 1;
            }
        }
    }
    assert!(bodies > 20, "only {bodies} bodies were compared");
}
