//! Idempotency keys: a repeated request joins the one in flight, gets the same answer later, and is refused with another body.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use contracts::{ids, proto::bets::v1::BetConflict};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::harness::{
    Broker, TIMEOUT, TestGateway, json_of, outcome, problem, send, valid_body, without_redis,
};

async fn body(response: reqwest::Response) -> (u16, String) {
    (response.status().as_u16(), response.text().await.expect("a body"))
}

/// The owner's answer to a bet without an event. Repeats the request while the owner takes longer than the gateway waits.
async fn owners_answer(gateway: &TestGateway, key: &str, stake_minor: i64) -> reqwest::Response {
    let undecided = [StatusCode::ACCEPTED, StatusCode::SERVICE_UNAVAILABLE];
    testkit::eventually("the owner's answer", TIMEOUT, || async {
        Some(gateway.bet_of(key, stake_minor).await).filter(|answer| !undecided.contains(&answer.status()))
    })
    .await
}

/// Waits until `count` commands have waiting requests.
async fn wait_for_waiting(gateway: &TestGateway, count: usize) {
    testkit::eventually("the waiting requests", TIMEOUT, || async {
        (gateway.standalone.waiting() == count).then_some(())
    })
    .await;
}

fn wait_long(config: &mut gateway::Config) {
    config.bets.wait_ms = 60_000;
}

#[tokio::test]
async fn bet_returns_its_outcome() {
    let gateway = TestGateway::start(Broker::SettlesLater).await;
    let response = gateway.bet(&testkit::unique("k")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.headers().contains_key("x-trace-id"));
    let bet = json_of(response).await;
    let id = gateway.published()[0].id.to_string();
    let expected = json!({ "bet_id": id, "outcome": "won", "reels": ["bell", "bell", "bell"], "stake_minor": 100,
        "payout_minor": 500, "balance_minor": 2400, "currency": "EUR" });
    assert_eq!(bet, expected);
    assert_eq!(gateway.standalone.waiting(), 0, "no request waits any more");
}

#[tokio::test]
async fn rejected_bet_is_a_200() {
    let gateway = TestGateway::start(Broker::Rejects).await;
    let response = gateway.bet(&testkit::unique("k")).await;
    assert_eq!(response.status(), StatusCode::OK);
    let bet = json_of(response).await;
    assert_eq!((&bet["outcome"], &bet["reason"]), (&json!("rejected"), &json!("insufficient_funds")));
}

#[tokio::test]
async fn id_derives_from_player_route_and_key() {
    let gateway = TestGateway::start(Broker::Settles).await;
    let key = testkit::unique("k");
    gateway.bet(&key).await;
    let expected = ids::command_id("p-1", "POST /api/v1/bets", &key);
    assert_eq!(gateway.published()[0].id, expected);
}

#[tokio::test]
async fn same_key_publishes_once() {
    let gateway = TestGateway::start(Broker::SettlesLater).await;
    let key = testkit::unique("k");
    let (one, two, three) = tokio::join!(gateway.bet(&key), gateway.bet(&key), gateway.bet(&key));
    let mut replies = HashSet::from([body(one).await, body(two).await, body(three).await]);
    assert_eq!(gateway.published().len(), 1, "one command for three requests");
    replies.insert(body(gateway.bet(&key).await).await);
    assert_eq!(replies.len(), 1, "one reply: {replies:?}");
    assert_eq!(gateway.published().len(), 1, "a known reply costs no second command");
}

#[tokio::test]
async fn reply_without_redis_has_same_bytes() {
    let key = testkit::unique("k");
    let with = TestGateway::start(Broker::Settles).await;
    let without = TestGateway::start_with(Broker::Settles, without_redis).await;
    let cached = body(with.bet(&key).await).await;
    assert_eq!(body(without.bet(&key).await).await, cached);
    assert_eq!(body(without.bet(&key).await).await, cached, "published again, with the same answer");
    let ids: HashSet<_> = without.published().into_iter().map(|command| command.id).collect();
    assert_eq!((without.published().len(), ids.len()), (2, 1), "the same command twice is harmless");
}

#[tokio::test]
async fn owner_lookup_returns_same_body_as_event() {
    let key = testkit::unique("k");
    let settling = TestGateway::start(Broker::Settles).await;
    let by_event = body(settling.bet(&key).await).await;
    let id = settling.published()[0].id.to_string();

    let silent = TestGateway::start_with(Broker::Silent, without_redis).await;
    let request_hash = settling.published()[0].request_hash.clone().expect("a hash").to_string();
    silent.peers.set_bet(&id, json!({ "bet_id": id, "player_id": "p-1", "state": "settled", "game": "slots", "reels": ["bell", "bell", "bell"],
        "stake_minor": 100, "payout_minor": 500, "balance_minor": 2400, "currency": "EUR", "pay_table_version": "1", "request_hash": request_hash }));
    assert_eq!(body(owners_answer(&silent, &key, 100).await).await, by_event);
    let found = send(silent.as_player(Method::GET, &format!("/api/v1/bets/{id}"))).await;
    assert_eq!(body(found).await, by_event, "GET shows the same bytes");
    assert_eq!(
        problem(owners_answer(&silent, &key, 200).await).await,
        (422, "/problems/idempotency-conflict".to_owned())
    );
}

/// A repetition asks what the request did, and GET what the bet is now.
#[tokio::test]
async fn repeat_of_voided_bet_gets_first_answer() {
    let key = testkit::unique("k");
    let gateway = TestGateway::start(Broker::Settles).await;
    let first = body(gateway.bet(&key).await).await;
    let command = gateway.published().remove(0);
    let (id, request_hash) = (command.id.to_string(), command.request_hash.expect("a hash").to_string());
    let voided = json!({ "bet_id": id, "player_id": "p-1", "state": "voided", "game": "slots", "stake_minor": 100,
        "currency": "EUR", "reason": "a bug", "request_hash": request_hash });
    gateway.peers.set_bet(&id, voided.clone());
    assert_eq!(body(gateway.bet(&key).await).await, first, "the original bytes");
    assert_eq!(gateway.published().len(), 1, "without a second command");
    let now = gateway.get_json(&format!("/api/v1/bets/{id}")).await;
    assert_eq!((&now["outcome"], &now["reason"]), (&json!("voided"), &json!("a bug")));

    let forgotten = TestGateway::start_with(Broker::Silent, without_redis).await;
    forgotten.peers.set_bet(&id, voided);
    let later = json_of(owners_answer(&forgotten, &key, 100).await).await;
    assert_eq!(later, now, "without the cache, the owner's present state");
}

#[tokio::test]
async fn same_key_with_another_body_conflicts() {
    let conflict = (422, "/problems/idempotency-conflict".to_owned());
    let key = testkit::unique("k");

    let cached = TestGateway::start(Broker::Settles).await;
    cached.bet(&key).await;
    assert_eq!(problem(cached.bet_of(&key, 200).await).await, conflict, "known by the cache");
    assert_eq!(cached.published().len(), 1, "it had no effect");

    let uncached = TestGateway::start_with(Broker::Settles, without_redis).await;
    uncached.bet(&key).await;
    let first = uncached.published().remove(0);
    let (id, request_hash) = (first.id.to_string(), first.request_hash.expect("a hash").to_string());
    uncached.peers.set_bet(
        &id,
        json!({ "bet_id": id, "player_id": "p-1", "state": "settled", "reels": ["bar", "bar", "lemon"],
        "payout_minor": 0, "request_hash": request_hash }),
    );
    assert_eq!(
        problem(uncached.bet_of(&key, 200).await).await,
        conflict,
        "known by game, which publishes BetConflict"
    );

    let in_flight = TestGateway::start_with(Broker::Silent, wait_long).await;
    let key = testkit::unique("k");
    let (first, second) = tokio::join!(in_flight.bet(&key), async {
        let command = in_flight.first_command().await;
        let second = in_flight.bet_of(&key, 200).await;
        assert!(in_flight.standalone.receive(&outcome(&command, Broker::Settles).expect("an outcome")));
        second
    });
    assert_eq!(first.status(), StatusCode::OK);
    assert_eq!(problem(second).await, conflict, "known by the waiters");
}

#[tokio::test]
async fn conflict_of_another_instance_keeps_own_result() {
    let gateway = TestGateway::start_with(Broker::Silent, wait_long).await;
    let key = testkit::unique("k");
    let (answer, ()) = tokio::join!(gateway.bet(&key), async {
        let command = gateway.first_command().await;
        let id = command.id.to_string();
        let request_hash = command.request_hash.expect("a hash").to_string();
        gateway.peers.set_bet(&id, json!({ "bet_id": id, "player_id": "p-1", "state": "settled", "reels": ["bar", "bar", "lemon"],
            "stake_minor": 100, "payout_minor": 0, "balance_minor": 1900, "currency": "EUR", "request_hash": request_hash }));
        // Another instance got another bet with this key. Game accepted this one, and all instances get the conflict event.
        assert!(gateway.standalone.receive(&BetConflict { bet_id: id, player_id: "p-1".to_owned() }.into()));
    });
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(json_of(answer).await["outcome"], "lost");
}

#[tokio::test]
async fn slow_write_returns_202_after_broker_ack() {
    let gateway = TestGateway::start(Broker::Silent).await;
    let key = testkit::unique("k");
    let response = gateway.bet(&key).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let id = gateway.published()[0].id.to_string();
    let location = response.headers().get("location").expect("a location").to_str().expect("text").to_owned();
    assert_eq!(location, format!("/api/v1/bets/{id}"));
    let pending = json!({ "bet_id": id, "outcome": "pending" });
    assert_eq!(json_of(response).await, pending);
    assert_eq!(gateway.get_json(&location).await, pending, "an accepted bet is found before game knows it");

    gateway.set_broker(Broker::Settles);
    assert_eq!(gateway.bet(&key).await.status(), StatusCode::OK, "the same key again gets the outcome");

    gateway.set_broker(Broker::Refuses);
    let answer = problem(gateway.bet(&testkit::unique("k")).await).await;
    assert_eq!(answer, (503, "/problems/unavailable".to_owned()));
    assert_eq!(gateway.standalone.waiting(), 0);
}

#[tokio::test]
async fn respond_async_returns_202_at_once() {
    let gateway = TestGateway::start_with(Broker::Silent, wait_long).await;
    let request = gateway.bet_request(100).header("idempotency-key", testkit::unique("k"));
    let started = Instant::now();
    let response = send(request.header("prefer", "respond-async")).await;
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert_eq!(response.headers().get("preference-applied").expect("a header"), "respond-async");
    assert_eq!(gateway.published().len(), 1, "only after the acknowledgement");
}

#[tokio::test]
async fn disconnected_client_stops_waiting() {
    let gateway = TestGateway::start_with(Broker::Silent, wait_long).await;
    let request = gateway.bet_request(100).header("idempotency-key", testkit::unique("k"));
    let client = telemetry::spawn(request.send());
    wait_for_waiting(&gateway, 1).await;
    client.abort();
    wait_for_waiting(&gateway, 0).await;
}

#[tokio::test]
async fn waiting_requests_are_bounded() {
    let gateway = TestGateway::start_with(Broker::Silent, |config| {
        (config.bets.waiters_max, config.bets.wait_ms) = (1, 60_000);
    })
    .await;
    let (one, two) = (testkit::unique("k"), testkit::unique("k"));
    let second = tokio::select! {
        first = gateway.bet(&one) => panic!("answered without an outcome: {first:?}"),
        second = async {
            wait_for_waiting(&gateway, 1).await;
            gateway.bet(&two).await
        } => second,
    };
    assert_eq!(problem(second).await, (503, "/problems/unavailable".to_owned()));
}

#[tokio::test]
async fn every_write_requires_a_key() {
    let gateway = TestGateway::start(Broker::Settles).await;
    let paths = [
        "/api/v1/players",
        "/api/v1/sessions",
        "/api/v1/bets",
        "/api/v1/payments/deposits",
        "/api/v1/payments/withdrawals",
        "/api/v1/me/self-exclusion",
    ];
    for path in paths {
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
            let mut request = gateway.as_player(Method::POST, path).json(&valid_body(path));
            if let Some(key) = key {
                request = request.header("idempotency-key", key);
            }
            let answer = problem(send(request).await).await;
            assert_eq!(answer, (400, "/problems/idempotency-key".to_owned()), "{path} with {key:?}");
        }
    }
}

/// Quotes are only syntax, and a repeated key is one key, so all forms give one bet.
#[tokio::test]
async fn all_forms_of_one_key_are_one_bet() {
    let gateway = TestGateway::start(Broker::Settles).await;
    let key = testkit::unique("k");
    let quoted = format!("\"{key}\"");
    let bet = async |lines: &[&str]| {
        let request = gateway.bet_request(100);
        send(lines.iter().fold(request, |request, line| request.header("idempotency-key", *line))).await
    };
    let list = format!("{key}, {quoted}");
    let forms: [&[&str]; 5] = [&[&key], &[&quoted], &[&key, &key], &[&quoted, &key], &[&list]];
    let mut replies = HashSet::new();
    for lines in forms {
        replies.insert(body(bet(lines).await).await);
    }
    assert_eq!((replies.len(), gateway.published().len()), (1, 1), "{replies:?}");
    assert_eq!(gateway.published()[0].id, ids::command_id("p-1", "POST /api/v1/bets", &key));

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
    assert_eq!(gateway.published().len(), 1, "none of them had an effect");
}
