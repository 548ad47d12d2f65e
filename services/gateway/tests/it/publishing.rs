//! Bets that are refused before publishing, and the effect of a permanently dead producer.

use http::StatusCode;
use reqwest::Method;
use serde_json::json;

use crate::stage::{Broker, Stage, problem};

#[tokio::test]
async fn a_bet_on_no_game_of_ours_is_refused_before_it_is_published() {
    let stage = Stage::set(Broker::Settles).await;
    let bet_on = async |game: &str| {
        let request = stage
            .as_player(Method::POST, "/api/v1/bets")
            .header("idempotency-key", testkit::unique("k"))
            .json(&json!({ "game": game, "stake_minor": 100, "currency": "EUR" }));
        request.send().await.expect("an answer")
    };
    let long = "s".repeat(33);
    for game in ["", "slots!", "sl ots", "Slots", "spielautomät", "no.such-game_1", "unknown", &long] {
        assert_eq!(
            problem(bet_on(game).await).await,
            (422, "/problems/unknown-game".to_owned()),
            "game {game:?}"
        );
    }
    assert!(stage.published().is_empty(), "{:?}", stage.published());
    for game in contracts::Game::ALL {
        assert_eq!(bet_on(game.as_str()).await.status(), StatusCode::OK, "{game}");
    }
}

#[tokio::test]
async fn a_refusal_of_one_command_is_not_the_end_but_a_dead_producer_is() {
    let stage = Stage::set(Broker::Refuses).await;
    assert_eq!(stage.bet(&testkit::unique("k")).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!stage.gateway.has_given_up());
    stage.broker(Broker::Dead);
    assert_eq!(stage.bet(&testkit::unique("k")).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(stage.gateway.has_given_up());
}

/// Two requests came with one key, and the owner does not answer which one it accepted. It may be this one.
#[tokio::test]
async fn nobody_is_told_that_a_request_had_no_effect_before_that_is_known() {
    let no_redis = |config: &mut gateway::Config| "redis://127.0.0.1:1".clone_into(&mut config.redis.url);
    let stage = Stage::set_with(Broker::Settles, no_redis).await;
    let key = testkit::unique("k");
    stage.bet(&key).await;
    assert_eq!(stage.bet_of(&key, 200).await.status(), StatusCode::SERVICE_UNAVAILABLE);
}
