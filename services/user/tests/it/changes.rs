//! Changes such as limits and self-exclusion: stored together with their event, once per key.

use contracts::proto::common::v1::Money;
use contracts::{EventId, Message};
use futures::future::join_all;
use serde_json::{Value, json};
use store::bson::{Document, doc};

use crate::platform::{Platform, TIMEOUT, config};

async fn set_limits(platform: &Platform, id: &str, key: &str, max_stake_minor: i64) -> (u16, Value) {
    let body = json!({ "max_stake_minor": max_stake_minor, "currency": "EUR" });
    platform.change("PUT", &format!("/players/{id}/limits"), key, body).await
}

fn event_id(answer: &Value) -> EventId {
    answer["event_id"].as_str().expect("an event id").parse().expect("an event id")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_is_stored_and_published_once_per_key() {
    let platform = Platform::start().await;
    let id = platform.player("ada").await;

    let (status, first) = set_limits(&platform, &id, "limits-1", 500).await;
    assert_eq!(status, 200, "{first}");
    let (_, second) = set_limits(&platform, &id, "limits-2", 700).await;
    assert_ne!(first, second);
    // An old key returns its first answer and has no effect.
    assert_eq!(set_limits(&platform, &id, "limits-1", 500).await, (200, first.clone()));
    let (status, problem) = set_limits(&platform, &id, "limits-1", 501).await;
    assert_eq!((status, &problem["type"]), (422, &json!("/problems/idempotency-conflict")));
    let (_, profile) = platform.get(&format!("/players/{id}")).await;
    assert_eq!(
        profile["limits"],
        json!({ "max_stake_minor": 700, "daily_loss_minor": null, "currency": "EUR" })
    );

    let received = platform.wait_distinct_events(&id, 3).await;
    let matching: Vec<_> = received.iter().filter(|event| event.id == event_id(&first)).collect();
    let Message::LimitsChanged(limits) = &matching[0].message else { panic!("{matching:?}") };
    assert_eq!(limits.max_stake, Some(Money { minor: 500, currency: "EUR".into() }));
    assert_eq!(limits.daily_loss, None);
    platform.wait_empty_outbox(&id).await;

    for no_limit in [0, -1, i64::MIN, 1_000_000_000_001, i64::MAX] {
        assert_eq!(set_limits(&platform, &id, "limits-3", no_limit).await.0, 422, "{no_limit}");
    }
    assert_eq!(set_limits(&platform, "unknown", "limits-3", 5).await.0, 404);
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn self_exclusion_cannot_be_shortened() {
    let mut config = config();
    // At this age no slow event is swept, so none is published twice.
    config.sweeper.age_ms = 3_600_000;
    let platform = Platform::start_with(config).await;
    let id = platform.player("ada").await;
    let now_ms = store::bson::DateTime::now().timestamp_millis();
    let path = format!("/players/{id}/self-exclusion");
    let exclude = async |key: &'static str, until_epoch_ms: i64| {
        platform.change("POST", &path, key, json!({ "until_epoch_ms": until_epoch_ms })).await
    };
    let (status, first) = exclude("exclusion-1", now_ms + 3_600_000).await;
    assert_eq!(status, 200, "{first}");
    let (status, problem) = exclude("exclusion-2", now_ms + 3_500_000).await;
    assert_eq!((status, &problem["type"]), (409, &json!("/problems/exclusion-shorter")));
    for (until_epoch_ms, problem) in [
        (now_ms - 1, "exclusion-in-the-past"),
        (i64::MIN, "exclusion-in-the-past"),
        (now_ms + 59_000, "exclusion-too-short"),
        (i64::MAX, "exclusion-too-long"),
    ] {
        let (status, answer) = exclude("exclusion-3", until_epoch_ms).await;
        let expected = json!(format!("/problems/{problem}"));
        assert_eq!((status, &answer["type"]), (422, &expected), "{until_epoch_ms}");
    }
    assert_eq!(exclude("exclusion-4", now_ms + 7_200_000).await.0, 200);
    assert_eq!(
        exclude("exclusion-1", now_ms + 3_600_000).await,
        (200, first),
        "the first response, although a longer exclusion followed"
    );
    let (_, profile) = platform.get(&format!("/players/{id}")).await;
    assert_eq!(profile["self_excluded_until_epoch_ms"], json!(now_ms + 7_200_000));

    let mail = json!({ "email_enabled": false });
    let (status, _) = platform.change("PUT", &format!("/players/{id}/preferences"), "mail-1", mail).await;
    assert_eq!(status, 200);
    let unknown = json!({ "status": "sure" });
    let (status, _) = platform.change("PUT", &format!("/players/{id}/kyc-status"), "kyc-1", unknown).await;
    assert_eq!(status, 422);
    let received = platform.wait_distinct_events(&id, 4).await;
    let names: Vec<&str> = received.iter().map(|event| event.event_type().short_name()).collect();
    assert_eq!(
        names,
        ["PlayerRegistered", "SelfExclusionStarted", "SelfExclusionStarted", "PreferencesChanged"],
        "published in the order of the decisions"
    );
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_changes_are_all_published() {
    const CHANGES: i64 = 12;
    let platform = Platform::start().await;
    let id = platform.player("ada").await;
    let keys: Vec<String> = (1..=CHANGES).map(|n| format!("limits-{n}")).collect();
    let requests = keys.iter().zip(1..).map(|(key, n)| {
        let (platform, id) = (&platform, &id);
        async move {
            // A request that loses eight races in a row is repeated too.
            let (status, answer) = set_limits(platform, id, key, 100 * n).await;
            assert_eq!(status, 200, "{answer}");
            event_id(&answer)
        }
    });
    let ids: Vec<EventId> = join_all(requests).await;
    platform.wait_empty_outbox(&id).await;

    let rows = platform.mongo.collection::<Document>("changes");
    let all = rows.find(doc! { "player_id": &id }, doc! { "seq": 1 }, 100).await.unwrap();
    let places: Vec<i64> = all.iter().map(|row| row.get_i64("seq").unwrap()).collect();
    assert_eq!(places, (1..=CHANGES + 1).collect::<Vec<i64>>(), "no gap, nothing twice");

    // Some events are published more than once, so their number proves nothing.
    let received = testkit::eventually("every change to be published", TIMEOUT, || async {
        let received = platform.received(&id);
        ids.iter().all(|id| received.iter().any(|event| event.id == *id)).then_some(received)
    })
    .await;
    // The stored state equals the last decision.
    let last = all.last().unwrap().get_document("event").unwrap().get_str("id").unwrap().to_owned();
    let last = received.iter().find(|event| event.id.as_str() == last).unwrap();
    let Message::LimitsChanged(limits) = &last.message else { panic!("{last:?}") };
    let (_, profile) = platform.get(&format!("/players/{id}")).await;
    assert_eq!(profile["limits"]["max_stake_minor"], json!(limits.max_stake.as_ref().unwrap().minor));
    platform.stop().await;
}
