//! Test harness: a namespace, a database and a mail server for one test, with one or more processes of the real service.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use bus::{Producer, RawRecord};
use chassis::Listeners;
use contracts::proto::bets::v1::BetSettled;
use contracts::proto::common::v1::Money;
use contracts::proto::players::v1::{PlayerRegistered, PreferencesChanged};
use contracts::{Event, Format, Group, Message, Topic};
use notification::config::Config;
use store::bson::{DateTime, Document, doc};
use store::mongo::Mongo;
use testkit::service::Running;

use crate::smtp::MailServer;

pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// Token that every request to notification has to carry.
pub(crate) const INTERNAL_TOKEN: &str = "an internal token of thirty-two bytes";

pub(crate) struct Platform {
    pub(crate) mails: MailServer,
    /// The store itself, even if the process connects through a [`crate::mongo_proxy::MongoProxy`].
    pub(crate) mongo: Mongo,
    producer: Producer,
    config: Config,
    process: Option<Running>,
}

/// Starts one process of the service. Several may run on one store and in one group.
async fn start_process(config: Config) -> Running {
    Running::start(notification::run, config, Listeners::local(&[]).await.unwrap()).await
}

impl Platform {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a platform with settings of the test and with short pauses.
    pub(crate) async fn start_with(overrides: &[(&str, &str)]) -> Self {
        let (mails, smtp) = MailServer::start().await;
        let settings = [
            ("PITBOSS__KAFKA__BOOTSTRAP_SERVERS", testkit::kafka()),
            ("PITBOSS__KAFKA__NAMESPACE", testkit::unique("notification")),
            ("PITBOSS__PEERS__SMTP", smtp.to_string()),
            ("PITBOSS__SECURITY__INTERNAL_TOKEN", INTERNAL_TOKEN.to_owned()),
            ("PITBOSS__MAIL__POLL_INTERVAL_MS", "20".to_owned()),
            ("PITBOSS__MAIL__PAUSE_MS_MIN", "20".to_owned()),
            // A busy machine shuts down slowly but still in an orderly way.
            ("PITBOSS__DRAIN__DEADLINE_MS", "60000".to_owned()),
        ];
        let all = testkit::long_timeouts::environment("notify").into_iter().chain(settings);
        let mut environment: HashMap<_, _> = all.map(|(name, value)| (name.to_owned(), value)).collect();
        environment.extend(overrides.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let config: Config =
            chassis::config::load(include_str!("../../src/defaults.toml"), None, environment).unwrap();
        bus::admin::ensure_topics(
            &config.kafka,
            &contracts::topics::catalogue_of(contracts::Group::Notification),
        )
        .await
        .unwrap();
        let directly = store::mongo::Config { uri: testkit::mongo(), ..config.mongo.clone() };
        let mongo = Mongo::connect(&directly).await.unwrap();
        let producer = Producer::new(&config.kafka).unwrap();
        let process = Some(start_process(config.clone()).await);
        Self { mails, mongo, producer, config, process }
    }

    /// Starts another process on the same store and in the same group, which uses another mail server.
    pub(crate) async fn start_another(&self, smtp: SocketAddr) -> Running {
        let mut config = self.config.clone();
        config.mongo.uri = testkit::mongo();
        config.peers.smtp = smtp.to_string();
        start_process(config).await
    }

    /// Starts another process with debug faults on the same store and in the same group.
    pub(crate) async fn start_with_debug(&self) -> Running {
        let listeners = testkit::debug::listeners().await;
        Running::start(notification::run, self.config.clone(), listeners).await
    }

    /// Sends a request with the internal token to the service.
    pub(crate) async fn request(&self, method: &str, path: &str) -> (u16, serde_json::Value) {
        let token = [("x-internal-token".to_owned(), INTERNAL_TOKEN.to_owned())];
        self.process().request(method, path, &token).await
    }

    /// First process.
    pub(crate) fn process(&self) -> &Running {
        self.process.as_ref().unwrap()
    }

    /// Shuts the process down in an orderly way.
    pub(crate) async fn stop(&mut self) {
        self.process.take().unwrap().stop().await;
    }

    /// Kills the process at an arbitrary point.
    pub(crate) async fn kill(&mut self) {
        self.process.take().unwrap().kill().await;
    }

    /// Starts another process in place of the one that ended.
    pub(crate) async fn start_again(&mut self) {
        self.process = Some(start_process(self.config.clone()).await);
    }

    /// Shuts the process down and starts another one.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.start_again().await;
    }

    pub(crate) async fn publish(&self, event: &Event) {
        self.producer.publish(event).await.unwrap();
    }

    /// Publishes without a key, so that two records of one player may be handled at the same time.
    pub(crate) async fn publish_without_key(&self, event: &Event) {
        let encoded = event.encode(Format::Protobuf);
        let record = RawRecord {
            topic: encoded.topic.name().to_owned(),
            key: None,
            headers: encoded.headers,
            value: encoded.value,
        };
        self.producer.publish_raw(&record).await.unwrap();
    }

    /// Appends a probe record to the dead letters of bets (one partition) and returns its offset: the records before it.
    pub(crate) async fn dead_letters(&self) -> i64 {
        let topic = Topic::BetsEvents.dlq(Group::Notification);
        let probe = RawRecord { topic, key: None, headers: Vec::new(), value: Vec::new().into() };
        self.producer.publish_raw(&probe).await.unwrap().offset
    }

    pub(crate) fn sent(&self) -> store::mongo::Collection<Document> {
        self.mongo.collection("sent")
    }

    /// Registers a player and waits until the contact is stored. Returns the address.
    pub(crate) async fn register(&self, player: &str) -> String {
        let email = address(player);
        self.register_at(player, &email).await;
        email
    }

    /// Registers a player at an address and waits until it is stored.
    pub(crate) async fn register_at(&self, player: &str, email: &str) {
        self.publish(&registered(player, email)).await;
        let contacts = self.mongo.collection::<Document>("contacts");
        testkit::eventually("the contact", TIMEOUT, || async {
            contacts.find_one(doc! { "_id": player, "email": email }).await.unwrap().map(drop)
        })
        .await;
    }

    /// Stores a contact and a due notification as the handlers do, with the fields of `more`. No record is in progress meanwhile,
    /// so only the courier touches them.
    pub(crate) async fn store_due(&self, player: &str, more: Document) -> (Event, String) {
        let (big, email) = (win(player, 100, 2_000), address(player));
        let contacts = self.mongo.collection::<Document>("contacts");
        contacts.insert_one(&doc! { "_id": player, "email": &email }).await.unwrap();
        let at = DateTime::from_system_time(big.time.into());
        let mut due = doc! {
            "_id": id(&big), "player_id": player, "state": "due", "owner": "", "due_at": DateTime::from_millis(0),
            "attempts": 0, "unknown": 0, "put_off": 0, "trace": {},
            "win": {
                "event_id": big.id.as_str(), "game": "slots", "at": at,
                "stake": { "minor": 100_i64, "currency": "EUR" }, "payout": { "minor": 2_000_i64, "currency": "EUR" },
            },
        };
        due.extend(more);
        self.sent().insert_one(&due).await.unwrap();
        (big, email)
    }

    /// Changes a notification directly in the store.
    pub(crate) async fn update(&self, event: &Event, change: Document) {
        let updated =
            self.sent().update_one(doc! { "_id": id(event) }, doc! { "$set": change }).await.unwrap();
        assert_eq!(updated, 1, "there is no notification of {}", event.id);
    }

    /// Changes a notification as if a process had died after the server accepted the e-mail, before it stored that.
    pub(crate) async fn claim_by_dead_process(&self, event: &Event) {
        let due_at = DateTime::from_millis(0);
        self.update(event, doc! { "state": "claimed", "owner": "dead-process", "due_at": due_at }).await;
    }

    /// Returns the notification as it is now.
    pub(crate) async fn find(&self, event: &Event) -> Document {
        self.sent().find_one(doc! { "_id": id(event) }).await.unwrap().unwrap()
    }

    /// Returns the notification as soon as it is in this state.
    pub(crate) async fn wait_for(&self, event: &Event, state: &str) -> Document {
        let id = id(event);
        testkit::eventually(&format!("{id} to be {state}"), TIMEOUT, || async {
            self.sent().find_one(doc! { "_id": &id, "state": state }).await.unwrap()
        })
        .await
    }

    /// Returns the notification as soon as an attempt was put off.
    pub(crate) async fn wait_for_put_off(&self, event: &Event) -> Document {
        testkit::eventually("the e-mail to be put off", TIMEOUT, || async {
            let now = self.find(event).await;
            (tally(&now).2 > 0).then_some(now)
        })
        .await
    }

    /// Publishes another big win of this player as a marker and waits until its e-mail was sent. By then earlier records in the
    /// lane were handled, and the player's due e-mails were tried.
    pub(crate) async fn flush(&self, player: &str) {
        let marker = win(player, 100, 2_000);
        self.publish(&marker).await;
        self.wait_for(&marker, "sent").await;
    }
}

fn id(event: &Event) -> String {
    format!("{}/email", event.id)
}

/// Returns the e-mail address of a player.
pub(crate) fn address(player: &str) -> String {
    format!("{player}@mail.example")
}

/// Returns the counters of a notification: all attempts, those with an unknown outcome, and those that were put off.
pub(crate) fn tally(notification: &Document) -> (i64, i64, i64) {
    let number = |name: &str| {
        let value = notification.get(name).unwrap();
        value.as_i64().or_else(|| value.as_i32().map(i64::from)).unwrap()
    };
    (number("attempts"), number("unknown"), number("put_off"))
}

/// Returns an event with this message and an id of its own.
pub(crate) fn event(message: impl Into<Message>) -> Event {
    Event::follower(&testkit::unique("cause").parse().unwrap(), "test", message)
}

/// Returns this amount in euros, as a message has it.
pub(crate) fn eur(minor: i64) -> Option<Money> {
    Some(Money { minor, currency: "EUR".to_owned() })
}

pub(crate) fn registered(player: &str, email: &str) -> Event {
    event(PlayerRegistered {
        player_id: player.to_owned(),
        email: email.to_owned(),
        display_name: "Ada".to_owned(),
        currency: "EUR".to_owned(),
    })
}

pub(crate) fn prefers(player: &str, email_enabled: bool) -> Event {
    event(PreferencesChanged { player_id: player.to_owned(), email_enabled })
}

pub(crate) fn win(player: &str, stake_minor: i64, payout_minor: i64) -> Event {
    event(BetSettled {
        bet_id: testkit::unique("bet"),
        player_id: player.to_owned(),
        game: "slots".to_owned(),
        stake: eur(stake_minor),
        payout: eur(payout_minor),
        balance_after: eur(0),
        reels: Vec::new(),
        pay_table_version: String::new(),
        bet_seq: 0,
    })
}
