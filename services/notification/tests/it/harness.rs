//! A namespace, a database and a mail server of a test's own, with one process of the real service on them, or more.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use bus::{Producer, RawRecord};
use contracts::proto::bets::v1::BetSettled;
use contracts::proto::common::v1::Money;
use contracts::proto::players::v1::{PlayerRegistered, PreferencesChanged};
use contracts::{Event, Format, Group, Message, Topic};
use notification::config::Config;
use store::bson::{DateTime, Document, doc};
use store::mongo::Mongo;

use crate::process::Process;
use crate::smtp::MailServer;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What every request to notification has to carry.
pub(crate) const INTERNAL_TOKEN: &str = "an internal token of thirty-two bytes";

pub(crate) struct Platform {
    pub(crate) mails: MailServer,
    /// The store itself, whatever way the process takes to it.
    pub(crate) mongo: Mongo,
    producer: Producer,
    config: Config,
    process: Option<Process>,
}

impl Platform {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With settings of the test's own, and pauses that a test can wait for.
    pub(crate) async fn start_with(own: &[(&str, &str)]) -> Self {
        let (mails, smtp) = MailServer::start().await;
        let settings = [
            ("PITBOSS__KAFKA__BOOTSTRAP_SERVERS", testkit::kafka()),
            ("PITBOSS__KAFKA__NAMESPACE", testkit::unique("notification")),
            ("PITBOSS__PEERS__SMTP", smtp.to_string()),
            ("PITBOSS__SECURITY__INTERNAL_TOKEN", INTERNAL_TOKEN.to_owned()),
            ("PITBOSS__MAIL__POLL_INTERVAL_MS", "20".to_owned()),
            ("PITBOSS__MAIL__PAUSE_MS_MIN", "20".to_owned()),
            // A busy machine ends late, and in good order all the same.
            ("PITBOSS__DRAIN__DEADLINE_MS", "60000".to_owned()),
        ];
        let all = testkit::patient::environment("notify").into_iter().chain(settings);
        let mut environment: HashMap<_, _> = all.map(|(name, value)| (name.to_owned(), value)).collect();
        environment.extend(own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let config: Config =
            chassis::config::load(include_str!("../../src/defaults.toml"), None, environment).unwrap();
        bus::admin::ensure_topics(&config.kafka, &contracts::topics::catalogue()).await.unwrap();
        let directly = store::mongo::Config { uri: testkit::mongo(), ..config.mongo.clone() };
        let mongo = Mongo::connect(&directly).await.unwrap();
        let producer = Producer::new(&config.kafka).unwrap();
        let process = Some(Process::start(&config).await);
        Self { mails, mongo, producer, config, process }
    }

    /// Starts another process on the same store, in the same group, which sends its mails elsewhere.
    pub(crate) async fn another(&self, smtp: SocketAddr) -> Process {
        let mut config = self.config.clone();
        config.mongo.uri = testkit::mongo();
        config.peers.smtp = smtp.to_string();
        Process::start(&config).await
    }

    /// Asks the service itself, as one of ours.
    pub(crate) async fn ask(&self, method: &str, path: &str) -> (u16, serde_json::Value) {
        let token = [("x-internal-token".to_owned(), INTERNAL_TOKEN.to_owned())];
        self.process().ask(method, path, &token).await
    }

    /// The first process.
    pub(crate) fn process(&self) -> &Process {
        self.process.as_ref().unwrap()
    }

    /// Ends the process in good order.
    pub(crate) async fn end(&mut self) {
        self.process.take().unwrap().end().await;
    }

    /// Ends the process in the middle of whatever it does.
    pub(crate) async fn die(&mut self) {
        self.process.take().unwrap().die().await;
    }

    /// Starts another process in the place of one that has ended.
    pub(crate) async fn begin(&mut self) {
        self.process = Some(Process::start(&self.config).await);
    }

    /// Ends the process and starts another one.
    pub(crate) async fn restart(&mut self) {
        self.end().await;
        self.begin().await;
    }

    pub(crate) async fn publish(&self, event: &Event) {
        self.producer.publish(event).await.unwrap();
    }

    /// Without a key nothing keeps two records of one player from being handled at the same time.
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

    /// How many dead letters of bets there are. Their topic has one partition: one more record is told its place in it.
    pub(crate) async fn parked(&self) -> i64 {
        let topic = Topic::BetsEvents.dlq(Group::Notification);
        let probe = RawRecord { topic, key: None, headers: Vec::new(), value: Vec::new().into() };
        self.producer.publish_raw(&probe).await.unwrap().offset
    }

    pub(crate) fn sent(&self) -> store::mongo::Collection<Document> {
        self.mongo.collection("sent")
    }

    /// Registers a player and waits until they are known.
    pub(crate) async fn register(&self, player: &str) -> String {
        let email = address(player);
        self.publish(&registered(player, &email)).await;
        let contacts = self.mongo.collection::<Document>("contacts");
        testkit::eventually("the contact", PATIENCE, || async {
            contacts.find_one(doc! { "_id": player, "email": &email }).await.unwrap().map(drop)
        })
        .await;
        email
    }

    /// Puts a contact and a notification that is due into the store, as the handlers leave them, and with `more` in it. No record is
    /// in hand meanwhile, so nobody but the courier touches them.
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

    /// Changes a notification behind the service's back.
    pub(crate) async fn set(&self, event: &Event, change: Document) {
        let updated =
            self.sent().update_one(doc! { "_id": id(event) }, doc! { "$set": change }).await.unwrap();
        assert_eq!(updated, 1, "there is no notification of {}", event.id);
    }

    /// How a notification stands now.
    pub(crate) async fn find(&self, event: &Event) -> Document {
        self.sent().find_one(doc! { "_id": id(event) }).await.unwrap().unwrap()
    }

    /// How a notification stands, once it stands so.
    pub(crate) async fn wait_for(&self, event: &Event, state: &str) -> Document {
        let id = id(event);
        testkit::eventually(&format!("{id} to be {state}"), PATIENCE, || async {
            self.sent().find_one(doc! { "_id": &id, "state": state }).await.unwrap()
        })
        .await
    }

    /// This player's next mail-worthy bet as a marker: what stood before it in the lane has been handled, and of this player's
    /// mails what was due has been tried.
    pub(crate) async fn flush(&self, player: &str) {
        let marker = win(player, 100, 2_000);
        self.publish(&marker).await;
        self.wait_for(&marker, "sent").await;
    }
}

fn id(event: &Event) -> String {
    format!("{}/email", event.id)
}

/// Where the mail of a player goes.
pub(crate) fn address(player: &str) -> String {
    format!("{player}@mail.example")
}

/// What a notification says of the attempts at it: all, those with an unknown outcome, those that were put off.
pub(crate) fn tally(notification: &Document) -> (i64, i64, i64) {
    let number = |name: &str| {
        let value = notification.get(name).unwrap();
        value.as_i64().or_else(|| value.as_i32().map(i64::from)).unwrap()
    };
    (number("attempts"), number("unknown"), number("put_off"))
}

fn event(message: impl Into<Message>) -> Event {
    Event::follower(&testkit::unique("cause").parse().unwrap(), "test", message)
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
    let eur = |minor| Some(Money { minor, currency: "EUR".to_owned() });
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
