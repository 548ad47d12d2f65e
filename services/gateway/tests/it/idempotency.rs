//! Idempotency keys: a repeated request joins the one in flight, gets the same answer later, and is refused with another body.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use contracts::{ids, proto::bets::v1::BetConflict};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::stage::{Broker, PATIENCE, Stage, outcome, problem};

async fn body(response: reqwest::Response) -> (u16, String) {
    (response.status().as_u16(), response.text().await.expect("a body"))
}

/// The owner's answer to a bet without an event. Repeats the request while the owner takes longer than the gateway waits.
async fn owners_word(stage: &Stage, key: &str, stake_minor: i64) -> reqwest::Response {
    let undecided = [StatusCode::ACCEPTED, StatusCode::SERVICE_UNAVAILABLE];
    testkit::eventually("the owner's word", PATIENCE, || async {
        Some(stage.bet_of(key, stake_minor).await).filter(|answer| !undecided.contains(&answer.status()))
    })
    .await
}

/// Waits until `count` commands have waiting requests.
async fn waiting_is(stage: &Stage, count: usize) {
    testkit::eventually("the waiters", PATIENCE, || async {
        (stage.gateway.waiting() == count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_bet_is_answered_with_its_outcome() {
    let stage = Stage::set(Broker::SettlesLater).await;
    let response = stage.bet(&testkit::unique("k")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.headers().contains_key("x-trace-id"));
    let bet: Value = response.json().await.expect("JSON");
    let id = stage.published()[0].id.to_string();
    let expected = json!({ "bet_id": id, "outcome": "won", "reels": ["bell", "bell", "bell"], "stake_minor": 100,
        "payout_minor": 500, "balance_minor": 2400, "currency": "EUR" });
    assert_eq!(bet, expected);
    assert_eq!(stage.gateway.waiting(), 0, "nobody waits any more");
}

#[tokio::test]
async fn a_rejected_bet_is_a_result() {
    let stage = Stage::set(Broker::Rejects).await;
    let response = stage.bet(&testkit::unique("k")).await;
    assert_eq!(response.status(), StatusCode::OK);
    let bet: Value = response.json().await.expect("JSON");
    assert_eq!((&bet["outcome"], &bet["reason"]), (&json!("rejected"), &json!("insufficient_funds")));
}

#[tokio::test]
async fn the_id_is_made_of_player_route_and_key() {
    let stage = Stage::set(Broker::Settles).await;
    let key = testkit::unique("k");
    stage.bet(&key).await;
    let expected = ids::command_id("p-1", "POST /api/v1/bets", &key);
    assert_eq!(stage.published()[0].id, expected);
}

#[tokio::test]
async fn the_same_key_in_flight_joins_and_after_that_repeats() {
    let stage = Stage::set(Broker::SettlesLater).await;
    let key = testkit::unique("k");
    let (one, two, three) = tokio::join!(stage.bet(&key), stage.bet(&key), stage.bet(&key));
    let mut replies = HashSet::from([body(one).await, body(two).await, body(three).await]);
    assert_eq!(stage.published().len(), 1, "one command for three requests");
    replies.insert(body(stage.bet(&key).await).await);
    assert_eq!(replies.len(), 1, "one reply: {replies:?}");
    assert_eq!(stage.published().len(), 1, "a known reply costs no second command");
}

#[tokio::test]
async fn without_a_cache_the_reply_is_the_same_bytes() {
    let key = testkit::unique("k");
    let no_redis = |config: &mut gateway::Config| "redis://127.0.0.1:1".clone_into(&mut config.redis.url);
    let with = Stage::set(Broker::Settles).await;
    let without = Stage::set_with(Broker::Settles, no_redis).await;
    let kept = body(with.bet(&key).await).await;
    assert_eq!(body(without.bet(&key).await).await, kept);
    assert_eq!(body(without.bet(&key).await).await, kept, "published again, answered again");
    let ids: HashSet<_> = without.published().into_iter().map(|command| command.id).collect();
    assert_eq!((without.published().len(), ids.len()), (2, 1), "the same command twice is harmless");
}

#[tokio::test]
async fn what_no_event_tells_its_owner_does_and_in_the_same_bytes() {
    let key = testkit::unique("k");
    let told = Stage::set(Broker::Settles).await;
    let by_event = body(told.bet(&key).await).await;
    let id = told.published()[0].id.to_string();

    let no_redis = |config: &mut gateway::Config| "redis://127.0.0.1:1".clone_into(&mut config.redis.url);
    let asked = Stage::set_with(Broker::Silent, no_redis).await;
    let request_hash = told.published()[0].request_hash.clone().expect("a hash").to_string();
    asked.behind.know_bet(&id, json!({ "bet_id": id, "player_id": "p-1", "state": "settled", "game": "slots", "reels": ["bell", "bell", "bell"],
        "stake_minor": 100, "payout_minor": 500, "balance_minor": 2400, "currency": "EUR", "pay_table_version": "1", "request_hash": request_hash }));
    assert_eq!(body(owners_word(&asked, &key, 100).await).await, by_event);
    let found = asked.as_player(Method::GET, &format!("/api/v1/bets/{id}")).send().await.expect("an answer");
    assert_eq!(body(found).await, by_event, "GET shows the same bytes");
    assert_eq!(
        problem(owners_word(&asked, &key, 200).await).await,
        (422, "/problems/idempotency-conflict".to_owned())
    );
}

#[tokio::test]
async fn the_same_key_with_another_body_is_refused_wherever_the_first_is_known() {
    let conflict = (422, "/problems/idempotency-conflict".to_owned());
    let key = testkit::unique("k");

    let cached = Stage::set(Broker::Settles).await;
    cached.bet(&key).await;
    assert_eq!(problem(cached.bet_of(&key, 200).await).await, conflict, "known by the cache");
    assert_eq!(cached.published().len(), 1, "it had no effect");

    let no_redis = |config: &mut gateway::Config| "redis://127.0.0.1:1".clone_into(&mut config.redis.url);
    let elsewhere = Stage::set_with(Broker::Settles, no_redis).await;
    elsewhere.bet(&key).await;
    let first = elsewhere.published().remove(0);
    let (id, request_hash) = (first.id.to_string(), first.request_hash.expect("a hash").to_string());
    elsewhere.behind.know_bet(
        &id,
        json!({ "bet_id": id, "player_id": "p-1", "state": "settled", "reels": ["bar", "bar", "lemon"],
        "payout_minor": 0, "request_hash": request_hash }),
    );
    assert_eq!(
        problem(elsewhere.bet_of(&key, 200).await).await,
        conflict,
        "known by game, told by BetConflict"
    );

    let in_flight = Stage::set_with(Broker::Silent, |config| config.bets.wait_ms = 60_000).await;
    let key = testkit::unique("k");
    let (first, second) = tokio::join!(in_flight.bet(&key), async {
        let command =
            testkit::eventually("the command", PATIENCE, || async { in_flight.published().first().cloned() })
                .await;
        let second = in_flight.bet_of(&key, 200).await;
        assert!(in_flight.gateway.hear(&outcome(&command, Broker::Settles).expect("an outcome")));
        second
    });
    assert_eq!(first.status(), StatusCode::OK);
    assert_eq!(problem(second).await, conflict, "known by the waiters");
}

#[tokio::test]
async fn a_conflict_on_another_instance_is_not_mine() {
    let stage = Stage::set_with(Broker::Silent, |config| config.bets.wait_ms = 60_000).await;
    let key = testkit::unique("k");
    let (answer, ()) = tokio::join!(stage.bet(&key), async {
        let command =
            testkit::eventually("the command", PATIENCE, || async { stage.published().first().cloned() })
                .await;
        let id = command.id.to_string();
        let request_hash = command.request_hash.expect("a hash").to_string();
        stage.behind.know_bet(&id, json!({ "bet_id": id, "player_id": "p-1", "state": "settled", "reels": ["bar", "bar", "lemon"],
            "stake_minor": 100, "payout_minor": 0, "balance_minor": 1900, "currency": "EUR", "request_hash": request_hash }));
        // Another instance got another bet with this key. Game accepted this one, and all instances get the conflict event.
        assert!(stage.gateway.hear(&BetConflict { bet_id: id, player_id: "p-1".to_owned() }.into()));
    });
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.json::<Value>().await.expect("JSON")["outcome"], "lost");
}

#[tokio::test]
async fn too_slow_is_202_with_a_place_to_ask_and_never_before_the_acknowledgement() {
    let stage = Stage::set(Broker::Silent).await;
    let key = testkit::unique("k");
    let response = stage.bet(&key).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let id = stage.published()[0].id.to_string();
    let location = response.headers().get("location").expect("a location").to_str().expect("text").to_owned();
    assert_eq!(location, format!("/api/v1/bets/{id}"));
    let pending = json!({ "bet_id": id, "outcome": "pending" });
    assert_eq!(response.json::<Value>().await.expect("JSON"), pending);
    let asked: Value =
        stage.as_player(Method::GET, &location).send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(asked, pending, "game has not met it, and it is not unknown");

    stage.broker(Broker::Settles);
    assert_eq!(stage.bet(&key).await.status(), StatusCode::OK, "the same key again gets the outcome");

    stage.broker(Broker::Refuses);
    let answer = problem(stage.bet(&testkit::unique("k")).await).await;
    assert_eq!(answer, (503, "/problems/unavailable".to_owned()));
    assert_eq!(stage.gateway.waiting(), 0);
}

#[tokio::test]
async fn who_would_rather_not_wait_does_not() {
    let stage = Stage::set_with(Broker::Silent, |config| config.bets.wait_ms = 60_000).await;
    let request =
        stage.as_player(Method::POST, "/api/v1/bets").header("idempotency-key", testkit::unique("k"));
    let begun = Instant::now();
    let response = request
        .header("prefer", "respond-async")
        .json(&json!({ "game": "slots", "stake_minor": 100, "currency": "EUR" }))
        .send()
        .await
        .expect("an answer");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert_eq!(response.headers().get("preference-applied").expect("a header"), "respond-async");
    assert_eq!(stage.published().len(), 1, "only after the acknowledgement");
}

#[tokio::test]
async fn one_who_hangs_up_frees_the_place() {
    let stage = Stage::set_with(Broker::Silent, |config| config.bets.wait_ms = 60_000).await;
    let request = stage
        .as_player(Method::POST, "/api/v1/bets")
        .header("idempotency-key", testkit::unique("k"))
        .json(&json!({ "game": "slots", "stake_minor": 100, "currency": "EUR" }));
    let hasty = telemetry::spawn(request.send());
    waiting_is(&stage, 1).await;
    hasty.abort();
    waiting_is(&stage, 0).await;
}

#[tokio::test]
async fn more_than_may_wait_are_refused() {
    let stage = Stage::set_with(Broker::Silent, |config| {
        (config.bets.waiters_max, config.bets.wait_ms) = (1, 60_000);
    })
    .await;
    let (one, two) = (testkit::unique("k"), testkit::unique("k"));
    let second = tokio::select! {
        first = stage.bet(&one) => panic!("answered while it was to wait: {first:?}"),
        second = async {
            waiting_is(&stage, 1).await;
            stage.bet(&two).await
        } => second,
    };
    assert_eq!(problem(second).await, (503, "/problems/unavailable".to_owned()));
}

#[tokio::test]
async fn every_write_needs_a_key() {
    let stage = Stage::set(Broker::Settles).await;
    let bodies = [
        (
            "/api/v1/players",
            json!({ "email": "a@b.example", "password": "12345678", "display_name": "A", "currency": "EUR" }),
        ),
        ("/api/v1/sessions", json!({ "email": "a@b.example", "password": "12345678" })),
        ("/api/v1/bets", json!({ "game": "slots", "stake_minor": 100, "currency": "EUR" })),
        ("/api/v1/payments/deposits", json!({ "amount_minor": 100, "currency": "EUR" })),
        ("/api/v1/payments/withdrawals", json!({ "amount_minor": 100, "currency": "EUR" })),
        ("/api/v1/me/self-exclusion", json!({ "until_epoch_ms": 1 })),
    ];
    for (path, body) in bodies {
        let too_long = "x".repeat(129);
        for key in [
            None,
            Some(""),
            Some("\"\""),
            Some("has space"),
            Some("k1,k2"),
            Some("\"k1"),
            Some(too_long.as_str()),
        ] {
            let mut request = stage.as_player(Method::POST, path).json(&body);
            if let Some(key) = key {
                request = request.header("idempotency-key", key);
            }
            let answer = problem(request.send().await.expect("an answer")).await;
            assert_eq!(answer, (400, "/problems/idempotency-key".to_owned()), "{path} with {key:?}");
        }
    }
}

/// Quotes are only syntax, and a repeated key is one key, so all forms give one bet.
#[tokio::test]
async fn one_key_in_every_form_is_one_bet_and_two_keys_are_refused() {
    let stage = Stage::set(Broker::Settles).await;
    let key = testkit::unique("k");
    let quoted = format!("\"{key}\"");
    let bet = async |lines: &[&str]| {
        let request = stage.as_player(Method::POST, "/api/v1/bets");
        let request = lines.iter().fold(request, |request, line| request.header("idempotency-key", *line));
        let body = json!({ "game": "slots", "stake_minor": 100, "currency": "EUR" });
        request.json(&body).send().await.expect("an answer")
    };
    let list = format!("{key}, {quoted}");
    let forms: [&[&str]; 5] = [&[&key], &[&quoted], &[&key, &key], &[&quoted, &key], &[&list]];
    let mut replies = HashSet::new();
    for lines in forms {
        replies.insert(body(bet(lines).await).await);
    }
    assert_eq!((replies.len(), stage.published().len()), (1, 1), "{replies:?}");
    assert_eq!(stage.published()[0].id, ids::command_id("p-1", "POST /api/v1/bets", &key));

    let other = testkit::unique("k");
    let both = format!("{key},{other}");
    let pairs: [&[&str]; 3] = [&[&key, &other], &[&other, &key], &[&both]];
    for lines in pairs {
        assert_eq!(
            problem(bet(lines).await).await,
            (400, "/problems/idempotency-key".to_owned()),
            "{lines:?}"
        );
    }
    assert_eq!(stage.published().len(), 1, "none of them had an effect");
}
