//! Events that a process leaves when it dies between its write and its publish are published by another process.

use store::bson::spec::BinarySubtype;
use store::bson::{Binary, Document, doc};
use store::mongo::Mongo;
use user::config::Config;
use user::domain::Change;
use user::error::UserError;
use user::players::{Players, Registration};

use crate::attempts::replica;
use crate::platform::{Platform, TIMEOUT, config};

/// A process whose publishes never arrive, because nothing listens on its broker's port.
async fn replica_without_broker(config: &Config) -> Players {
    let mut config = config.clone();
    config.kafka.bootstrap_servers = "127.0.0.1:1".to_owned();
    config.kafka.message_timeout_ms = 300;
    replica(&config).await.0
}

async fn leave_two_events(config: &Config, name: &str) -> String {
    let players = replica_without_broker(config).await;
    let (email, password) = (format!("{name}@players.example"), format!("password of {name}"));
    let registration = Registration::new(email, password, name.to_owned(), "EUR").expect("a registration");
    let id = players.register(name, &registration, None).await.expect("stored but not published");
    let change = Change::Preferences { email_enabled: false };
    // After `Busy`, which means that the limit of the wait was reached, the same key finds the result.
    testkit::eventually("the change to be stored but not published", TIMEOUT, || async {
        match players.change(&id, "mail-1", &change).await {
            Err(UserError::Busy) => None,
            stored => Some(stored.expect("stored but not published")),
        }
    })
    .await;
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_dead_process_are_published_in_order() {
    let mut config = config();
    config.sweeper.age_ms = 10;
    let id = leave_two_events(&config, "ada").await;
    let platform = Platform::start_with(config).await;
    let received = platform.wait_events(&id, 2).await;
    let names: Vec<&str> = received.iter().map(|event| event.event_type().short_name()).collect();
    assert_eq!(names, ["PlayerRegistered", "PreferencesChanged"]);
    platform.wait_empty_outbox(&id).await;
    assert_eq!(platform.received(&id).len(), 2, "when idle nothing is published twice");
    platform.stop().await;
}

/// Another version wrote one player's document, and another player's outbox is damaged. The process survives, and the third
/// player's events are published although the other two come first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_player_does_not_stop_sweeper() {
    let mut config = config();
    config.sweeper.age_ms = 10;
    config.sweeper.batch_max = 1;
    let mut ids = Vec::new();
    for name in ["ada", "eve", "joe"] {
        ids.push(leave_two_events(&config, name).await);
    }
    let mongo = Mongo::connect(&config.mongo).await.expect("the document store");
    let players = mongo.collection::<Document>("players");
    let newer = doc! { "$set": { "currency": "CHF" } };
    assert_eq!(players.update_one(doc! { "_id": &ids[0] }, newer).await.unwrap(), 1);
    let rubbish = Binary { subtype: BinarySubtype::Generic, bytes: vec![0xff; 3] };
    let damaged = doc! { "$set": { "outbox.0.event.bytes": rubbish } };
    assert_eq!(players.update_one(doc! { "_id": &ids[1] }, damaged).await.unwrap(), 1);

    let platform = Platform::start_with(config).await;
    platform.wait_events(&ids[2], 2).await;
    platform.wait_empty_outbox(&ids[2]).await;
    assert_eq!(platform.player("zoe").await.len(), 36, "the process is still running");
    for id in &ids[..2] {
        assert!(platform.received(id).is_empty());
        assert_eq!(platform.stored(id).await.get_array("outbox").unwrap().len(), 2, "nothing is lost");
    }
    platform.stop().await;
}

/// Counter-example: no event is old enough for the sweeper, so the events stay unpublished until the player's next request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn next_request_publishes_pending_events() {
    let mut config = config();
    config.sweeper.age_ms = 3_600_000;
    let id = leave_two_events(&config, "ada").await;
    let platform = Platform::start_with(config).await;
    let waiting = platform.stored(&id).await;
    assert_eq!(waiting.get_array("outbox").unwrap().len(), 2);
    assert!(platform.received(&id).is_empty(), "the test must see the difference");

    let mail = serde_json::json!({ "email_enabled": true });
    let (status, _) = platform.change("PUT", &format!("/players/{id}/preferences"), "mail-2", mail).await;
    assert_eq!(status, 200);
    let received = platform.wait_distinct_events(&id, 3).await;
    let enabled: Vec<bool> = received
        .iter()
        .filter_map(|event| match &event.message {
            contracts::Message::PreferencesChanged(event) => Some(event.email_enabled),
            _ => None,
        })
        .collect();
    assert_eq!(enabled, [false, true], "the pending event is published first");
    platform.wait_empty_outbox(&id).await;
    platform.stop().await;
}
