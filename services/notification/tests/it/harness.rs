//! The real service in this process, on a namespace, a database and a mail server of its own.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use bus::{Producer, RawRecord};
use chassis::{Edges, Failure, Shutdown};
use contracts::proto::bets::v1::BetSettled;
use contracts::proto::common::v1::Money;
use contracts::proto::players::v1::{PlayerRegistered, PreferencesChanged};
use contracts::{Event, Format, Group, Message, Topic};
use notification::config::Config;
use store::bson::{Document, doc};
use store::mongo::Mongo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

use crate::smtp::MailServer;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What every request to notification has to carry.
const INTERNAL_TOKEN: &str = "an internal token of thirty-two bytes";

pub(crate) struct Platform {
    pub(crate) mails: MailServer,
    pub(crate) mongo: Mongo,
    address: SocketAddr,
    producer: Producer,
    config: Config,
    shutdown: Shutdown,
    service: Option<JoinHandle<Result<(), Failure>>>,
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
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
            ("PITBOSS__MONGO__URI", testkit::mongo()),
            ("PITBOSS__MONGO__DATABASE", testkit::unique("notify")),
            ("PITBOSS__PEERS__SMTP", smtp.to_string()),
            ("PITBOSS__SECURITY__INTERNAL_TOKEN", INTERNAL_TOKEN.to_owned()),
            ("PITBOSS__MAIL__POLL_INTERVAL_MS", "20".to_owned()),
            ("PITBOSS__MAIL__PAUSE_MS_MIN", "20".to_owned()),
        ];
        let mut environment: HashMap<_, _> =
            settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        environment.extend(own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let config: Config =
            chassis::config::load(include_str!("../../src/defaults.toml"), None, environment).unwrap();
        bus::admin::ensure_topics(&config.kafka, &contracts::topics::catalogue()).await.unwrap();
        let mongo = Mongo::connect(&config.mongo).await.unwrap();
        let producer = Producer::new(&config.kafka).unwrap();
        let mut platform =
            Self { mails, mongo, address: smtp, producer, config, shutdown: Shutdown::new(), service: None };
        platform.run().await;
        platform
    }

    async fn run(&mut self) {
        let edges = Edges::local(&[]).await.unwrap();
        let ops = edges.ops.local_addr().unwrap();
        self.address = edges.http.local_addr().unwrap();
        self.shutdown = Shutdown::new();
        self.service =
            Some(telemetry::spawn(notification::run(self.config.clone(), edges, self.shutdown.clone())));
        testkit::eventually("notification to be ready", PATIENCE, || async move {
            (ask(ops, "GET", "/readyz").await?.0 == 200).then_some(())
        })
        .await;
    }

    /// Asks the service itself, as one of ours.
    pub(crate) async fn ask(&self, method: &str, path: &str) -> (u16, serde_json::Value) {
        ask(self.address, method, path).await.unwrap()
    }

    /// Ends the process and starts another one.
    pub(crate) async fn restart(&mut self) {
        self.shutdown.trigger();
        let ended = self.service.take().unwrap().await.unwrap();
        assert!(ended.is_ok(), "{:?}", ended.map_err(|failure| failure.story()));
        self.run().await;
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
        let email = format!("{player}@mail.example");
        self.publish(&registered(player, &email)).await;
        let contacts = self.mongo.collection::<Document>("contacts");
        testkit::eventually("the contact", PATIENCE, || async {
            contacts.find_one(doc! { "_id": player, "email": &email }).await.unwrap().map(drop)
        })
        .await;
        email
    }

    /// How a notification stands, once it stands so.
    pub(crate) async fn wait_for(&self, event: &Event, state: &str) -> Document {
        let id = format!("{}/email", event.id);
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

async fn ask(address: SocketAddr, method: &str, path: &str) -> Option<(u16, serde_json::Value)> {
    let mut stream = tokio::net::TcpStream::connect(address).await.ok()?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nx-internal-token: {INTERNAL_TOKEN}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).unwrap_or_default()))
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
