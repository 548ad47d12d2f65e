//! Rate limits: per player, per address, and the operator's exemption from the second.

use gateway::Config;
use reqwest::{Method, StatusCode};

use crate::stage::{Broker, OPERATOR_TOKEN, Stage, problem, token};

fn few_per_player(config: &mut Config) {
    (config.limits.per_player_per_s, config.limits.per_player_burst) = (1, 3);
}

fn few_per_address(config: &mut Config) {
    (config.limits.per_address_per_s, config.limits.per_address_burst) = (1, 3);
}

#[tokio::test]
async fn a_player_has_a_limit_and_another_player_another() {
    let stage = Stage::set_with(Broker::Settles, few_per_player).await;
    for _ in 0..3 {
        let answer = stage.as_player(Method::GET, "/api/v1/me").send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
    }
    let refused = stage.as_player(Method::GET, "/api/v1/me").header("x-operator-token", OPERATOR_TOKEN);
    let refused = refused.send().await.expect("an answer");
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(
        problem(refused).await,
        (429, "/problems/too-many-requests".to_owned()),
        "an operator is not exempt from this one"
    );
    let other = stage
        .request(Method::GET, "/api/v1/me")
        .bearer_auth(token("p-2", "s-2"))
        .send()
        .await
        .expect("an answer");
    assert_eq!(other.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_address_has_a_limit_and_the_operator_has_none() {
    let stage = Stage::set_with(Broker::Settles, few_per_address).await;
    let ask = || stage.request(Method::GET, "/api/v1/games/slots/pay-table");
    for _ in 0..3 {
        assert_eq!(ask().send().await.expect("an answer").status(), StatusCode::OK);
    }
    assert_eq!(problem(ask().send().await.expect("an answer")).await.0, 429);
    let nothing = stage.request(Method::GET, "/no/such/path").send().await.expect("an answer");
    assert_eq!(nothing.headers().get("x-frame-options").expect("security headers"), "DENY");
    assert_eq!(problem(nothing).await.0, 429, "what does not exist is counted too");
    let guessed = ask().header("x-operator-token", "guessed").send().await.expect("an answer");
    assert_eq!(problem(guessed).await.0, 429);
    for _ in 0..10 {
        let operator = ask().header("x-operator-token", OPERATOR_TOKEN).send().await.expect("an answer");
        assert_eq!(operator.status(), StatusCode::OK);
    }
}
