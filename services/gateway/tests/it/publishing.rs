//! Bets that are refused before publishing, and the effect of a permanently dead producer.

use http::StatusCode;
use reqwest::Method;
use serde_json::json;

use crate::harness::{Broker, TestGateway, problem, send, without_redis};

#[tokio::test]
async fn unknown_game_is_refused_before_publishing() {
    let gateway = TestGateway::start(Broker::Settles).await;
    let bet_on = async |game: &str| {
        let request = gateway
            .as_player(Method::POST, "/api/v1/bets")
            .header("idempotency-key", testkit::unique("k"))
            .json(&json!({ "game": game, "stake_minor": 100, "currency": "EUR" }));
        send(request).await
    };
    let long = "s".repeat(33);
    for game in ["", "slots!", "sl ots", "Slots", "spielautomät", "no.such-game_1", "unknown", &long] {
        assert_eq!(
            problem(bet_on(game).await).await,
            (422, "/problems/unknown-game".to_owned()),
            "game {game:?}"
        );
    }
    assert!(gateway.published().is_empty(), "{:?}", gateway.published());
    for game in contracts::Game::ALL {
        assert_eq!(bet_on(game.as_str()).await.status(), StatusCode::OK, "{game}");
    }
}

#[tokio::test]
async fn only_a_dead_producer_fails_the_process() {
    let gateway = TestGateway::start(Broker::Refuses).await;
    assert_eq!(gateway.bet(&testkit::unique("k")).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!gateway.standalone.has_failed());
    gateway.set_broker(Broker::Dead);
    assert_eq!(gateway.bet(&testkit::unique("k")).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(gateway.standalone.has_failed());
}

/// Two requests came with one key, and the owner does not answer which one it accepted. It may be this one.
#[tokio::test]
async fn undecided_conflict_is_a_503() {
    let gateway = TestGateway::start_with(Broker::Settles, without_redis).await;
    let key = testkit::unique("k");
    gateway.bet(&key).await;
    assert_eq!(gateway.bet_of(&key, 200).await.status(), StatusCode::SERVICE_UNAVAILABLE);
}
