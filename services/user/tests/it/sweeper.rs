//! What a process leaves when it dies between its write and its publish, another one publishes.

use store::mongo::Mongo;
use user::domain::Change;
use user::passwords::Passwords;
use user::players::{Players, Registration};

use crate::platform::{Platform, config};

/// A process whose publishes never arrive: its broker is a port that nobody listens on.
async fn dying(config: &user::config::Config) -> Players {
    let mongo = Mongo::connect(&config.mongo).await.expect("the document store");
    let nowhere = bus::Config {
        bootstrap_servers: "127.0.0.1:1".to_owned(),
        message_timeout_ms: 300,
        ..config.kafka.clone()
    };
    let producer = bus::Producer::new(&nowhere).expect("a producer");
    Players::open(&mongo, producer, Passwords::new(config.passwords)).await.expect("indexes")
}

async fn leave_two_events(config: &user::config::Config) -> String {
    let players = dying(config).await;
    let asked =
        Registration::new("ada@players.example".into(), "password of ada".into(), "Ada".into(), "EUR")
            .expect("a registration");
    let id = players.register("key-ada", &asked).await.expect("stored, though not told");
    let change = Change::Preferences { email_enabled: false };
    players.change(&id, "mail-1", &change).await.expect("stored, though not told");
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_a_dead_process_are_published_in_order() {
    let mut config = config();
    config.sweeper.age_ms = 10;
    let id = leave_two_events(&config).await;
    let platform = Platform::start_with(config).await;
    let heard = platform.hear(&id, 2).await;
    let names: Vec<&str> = heard.iter().map(|event| event.event_type().short_name()).collect();
    assert_eq!(names, ["PlayerRegistered", "PreferencesChanged"]);
    platform.outbox_empty(&id).await;
    assert_eq!(platform.heard(&id).len(), 2, "in peace nothing is published twice");
    platform.end().await;
}

/// The twin: with a sweeper that finds nothing old enough, the events stay unheard until the player's next request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_sweeper_they_wait_for_the_players_next_request() {
    let mut config = config();
    config.sweeper.age_ms = 3_600_000;
    let id = leave_two_events(&config).await;
    let platform = Platform::start_with(config).await;
    let waiting = platform.stored(&id).await;
    assert_eq!(waiting.get_array("outbox").unwrap().len(), 2);
    assert!(platform.heard(&id).is_empty(), "the test must see the difference");

    let mail = serde_json::json!({ "email_enabled": true });
    let (status, _) = platform.ask("PUT", &format!("/players/{id}/preferences"), "mail-2", Some(mail)).await;
    assert_eq!(status, 200);
    let heard = platform.hear(&id, 3).await;
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
