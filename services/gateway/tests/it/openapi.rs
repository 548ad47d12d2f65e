//! The OpenAPI description, its checked-in copy and the served routes are the same.

use std::path::Path;

use reqwest::Method;
use serde_json::Value;
use utoipa::OpenApi;

use crate::stage::{Broker, Stage};

#[test]
fn the_checked_in_description_is_the_codes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/openapi.yaml");
    let described = gateway::Description::openapi();
    let as_yaml = serde_yaml_ng::to_string(&described).expect("YAML");
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(&path, &as_yaml).expect("writes");
    }
    let checked_in = std::fs::read_to_string(&path).expect("schemas/openapi.yaml is there");
    let checked_in: Value = serde_yaml_ng::from_str(&checked_in).expect("YAML");
    let described = serde_json::to_value(described).expect("JSON");
    assert_eq!(checked_in, described, "UPDATE_SCHEMAS=1 cargo test -p gateway openapi writes it anew");
}

#[tokio::test]
async fn what_is_described_is_served_and_nothing_is_hidden_behind_another_method() {
    let stage = Stage::set(Broker::Silent).await;
    let served: Value = stage
        .request(Method::GET, "/openapi.json")
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    let paths = served["paths"].as_object().expect("paths");
    assert!(paths.len() >= 13, "{} paths", paths.len());
    for (path, operations) in paths {
        for name in operations.as_object().expect("operations").keys() {
            let method: Method = name.to_uppercase().parse().expect("a method");
            let status = stage.request(method, path).send().await.expect("an answer").status().as_u16();
            assert!(status != 404 && status != 405, "{name} {path} answered {status}");
        }
    }
}
