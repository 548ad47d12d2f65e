//! Events that a process leaves when it dies between its write and its publish are published by another process.

use store::bson::spec::BinarySubtype;
use store::bson::{Binary, Document, doc};
use store::mongo::Mongo;
use store::redis::Cache;
use user::attempts::Attempts;
use user::domain::Change;
use user::error::UserError;
use user::passwords::Passwords;
use user::players::{Players, Registration};

use crate::platform::{PATIENCE, Platform, config};

/// A process whose publishes never arrive, because nothing listens on its broker's port.
pub(crate) async fn dying(config: &user::config::Config) -> Players {
    let mongo = Mongo::connect(&config.mongo).await.expect("the document store");
    let nowhere = bus::Config {
        bootstrap_servers: "127.0.0.1:1".to_owned(),
        message_timeout_ms: 300,
        ..config.kafka.clone()
    };
    let producer = bus::Producer::new(&nowhere).expect("a producer");
    let attempts = Attempts::new(Cache::new(&config.redis).expect("a URL"), config.attempts);
    let passwords = Passwords::new(config.passwords).expect("threads");
    Players::open(&mongo, producer, passwords, attempts).await.expect("indexes")
}

async fn leave_two_events(config: &user::config::Config, name: &str) -> String {
    let players = dying(config).await;
    let (email, password) = (format!("{name}@players.example"), format!("password of {name}"));
    let asked = Registration::new(email, password, name.to_owned(), "EUR").expect("a registration");
    let id = players.register(name, &asked, None).await.expect("stored, though not told");
    let change = Change::Preferences { email_enabled: false };
    // After `Busy`, which means that the limit of the wait was reached, the same key finds the result.
    testkit::eventually("the change to be stored, though not told", PATIENCE, || async {
        match players.change(&id, "mail-1", &change).await {
            Err(UserError::Busy) => None,
            stored => Some(stored.expect("stored, though not told")),
        }
    })
    .await;
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_a_dead_process_are_published_in_order() {
    let mut config = config();
    config.sweeper.age_ms = 10;
    let id = leave_two_events(&config, "ada").await;
    let platform = Platform::start_with(config).await;
    let heard = platform.hear(&id, 2).await;
    let names: Vec<&str> = heard.iter().map(|event| event.event_type().short_name()).collect();
    assert_eq!(names, ["PlayerRegistered", "PreferencesChanged"]);
    platform.outbox_empty(&id).await;
    assert_eq!(platform.heard(&id).len(), 2, "in peace nothing is published twice");
    platform.end().await;
}

/// Another version wrote one player's document, and another player's outbox is damaged. The process survives, and the third
/// player's events are published although the other two come first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_document_that_cannot_be_read_stops_nobody_else() {
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
    platform.hear(&ids[2], 2).await;
    platform.outbox_empty(&ids[2]).await;
    assert_eq!(platform.player("zoe").await.len(), 36, "the process lives");
    for id in &ids[..2] {
        assert!(platform.heard(id).is_empty());
        assert_eq!(platform.stored(id).await.get_array("outbox").unwrap().len(), 2, "nothing is lost");
    }
    platform.end().await;
}

/// Counter-example: no event is old enough for the sweeper, so the events stay unpublished until the player's next request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_sweeper_they_wait_for_the_players_next_request() {
    let mut config = config();
    config.sweeper.age_ms = 3_600_000;
    let id = leave_two_events(&config, "ada").await;
    let platform = Platform::start_with(config).await;
    let waiting = platform.stored(&id).await;
    assert_eq!(waiting.get_array("outbox").unwrap().len(), 2);
    assert!(platform.heard(&id).is_empty(), "the test must see the difference");

    let mail = serde_json::json!({ "email_enabled": true });
    let (status, _) = platform.change("PUT", &format!("/players/{id}/preferences"), "mail-2", mail).await;
    assert_eq!(status, 200);
    let heard = platform.hear_each(&id, 3).await;
    let enabled: Vec<bool> = heard
        .iter()
        .filter_map(|event| match &event.message {
            contracts::Message::PreferencesChanged(told) => Some(told.email_enabled),
            _ => None,
        })
        .collect();
    assert_eq!(enabled, [false, true], "what waits goes first");
    platform.outbox_empty(&id).await;
    platform.end().await;
}
