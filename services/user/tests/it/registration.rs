//! Registration: one player however often it is repeated, and its event.

use contracts::{EventType, Message, ids};
use futures::future::join_all;
use serde_json::json;

use crate::platform::{Platform, registration};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registration_creates_one_player_and_event() {
    let platform = Platform::start().await;
    let body = registration("ada");
    let (status, first) = platform.send("POST", "/players", "key-ada", Some(body.clone())).await;
    assert_eq!(status, 201, "{first}");
    let id = first["player_id"].as_str().unwrap().to_owned();

    // The same request again, in parallel.
    let same = std::iter::repeat_with(|| platform.send("POST", "/players", "key-ada", Some(body.clone())));
    for (status, again) in join_all(same.take(5)).await {
        assert_eq!((status, &again), (201, &first));
    }

    // The same key for another request.
    for (field, value) in [("display_name", "Eve"), ("password", "another password")] {
        let mut changed = body.clone();
        changed[field] = json!(value);
        let (status, problem) = platform.send("POST", "/players", "key-ada", Some(changed)).await;
        assert_eq!((status, &problem["type"]), (422, &json!("/problems/idempotency-conflict")), "{field}");
    }

    // The same key from another address is a different key, so two clients that both use `1` never collide.
    let (status, other) = platform.send("POST", "/players", "key-ada", Some(registration("eve"))).await;
    assert_eq!(status, 201, "{other}");
    assert_ne!(other, first);

    // The same address for another player, in different case.
    let mut taken = registration("zoe");
    taken["email"] = json!("ADA@players.example");
    let (status, problem) = platform.send("POST", "/players", "key-zoe", Some(taken)).await;
    assert_eq!((status, &problem["type"]), (409, &json!("/problems/email-taken")));

    let received = platform.wait_events(&id, 1).await;
    platform.wait_empty_outbox(&id).await;
    let expected = ids::follower_id(&id.parse().unwrap(), EventType::PlayerRegistered);
    assert!(received.iter().all(|event| event.id == expected), "one event: {received:?}");
    let Message::PlayerRegistered(event) = &received[0].message else { panic!("{received:?}") };
    assert_eq!((event.email.as_str(), event.currency.as_str()), ("ada@players.example", "EUR"));

    let (status, profile) = platform.get(&format!("/players/{id}")).await;
    assert_eq!(
        (status, &profile["display_name"], &profile["kyc_status"]),
        (200, &json!("ada"), &json!("pending"))
    );
    assert!(!profile.to_string().contains("password"), "{profile}");
    assert_eq!(platform.get("/players/unknown").await.0, 404);
    let stored = platform.stored(&id).await.to_string();
    assert!(!stored.contains("password of ada"), "the password must not be stored");
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_registrations_create_one_player() {
    let platform = Platform::start().await;
    let body = registration("grace");
    let requests =
        std::iter::repeat_with(|| platform.send("POST", "/players", "key-grace", Some(body.clone())));
    let answers = join_all(requests.take(10)).await;
    let first = answers[0].1.clone();
    for (status, answer) in &answers {
        assert_eq!((*status, answer), (201, &first));
    }
    let id = first["player_id"].as_str().unwrap();
    let received = platform.wait_events(id, 1).await;
    assert!(received.iter().all(|event| event == &received[0]), "one event: {received:?}");
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_registration_is_rejected() {
    let platform = Platform::start().await;
    let odd = [
        ("email", json!("no-address"), 422),
        ("email", json!("a b@players.example"), 422),
        ("password", json!("short"), 422),
        ("password", json!("x".repeat(257)), 422),
        ("display_name", json!(""), 422),
        ("display_name", json!("a\u{0}b"), 422),
        ("currency", json!("eur"), 422),
        ("currency", json!(7), 422),
        ("admin", json!(true), 422),
    ];
    for (field, value, expected) in odd {
        let mut body = registration("odd");
        body[field] = value.clone();
        let (status, problem) = platform.send("POST", "/players", "key-odd", Some(body)).await;
        assert_eq!(status, expected, "{field} = {value}: {problem}");
        assert!(problem["type"].as_str().is_some_and(|kind| kind.starts_with("/problems/")), "{problem}");
    }
    let (status, _) = platform.send("POST", "/players", "", Some(registration("odd"))).await;
    assert_eq!(status, 400, "a key is required");
    let (status, _) = platform.send("POST", "/players", &"k".repeat(129), Some(registration("odd"))).await;
    assert_eq!(status, 400, "a key is bounded");
    platform.stop().await;
}
