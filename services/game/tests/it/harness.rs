//! Test harness: runs the real service in this process, with its own namespace and database, and records what it publishes.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bus::{Delivery, HandleAny, HandlerError, Outcome, Producer, RawRecord};
use chassis::Listeners;
use contracts::proto::bets::v1::PlaceBet;
use contracts::proto::common::v1::Money;
use contracts::proto::payments::v1::{ApplyWager, WagerApplied};
use contracts::{Event, EventId, EventType, Group, Message, Topic, ids};
use faults::Faults;
use game::config::Config;
use testkit::service::Running;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

/// Time-out that exceeds a rebalance and a few retries on a busy machine.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// Token that every request to game has to carry.
pub(crate) const INTERNAL_TOKEN: &str = "an internal token of thirty-two bytes";

/// One runtime for all tests, because the service outlives the test that started it.
pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// All events on the topics that game writes.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<Delivery>>>);

#[async_trait]
impl HandleAny for Seen {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        self.0.lock().unwrap().push(delivery.clone());
        Ok(Outcome::Applied)
    }
}

impl Seen {
    /// Returns all events of one type about one player, oldest first.
    pub(crate) fn of(&self, player: &str, event_type: EventType) -> Vec<Delivery> {
        let seen = self.0.lock().unwrap();
        let about = |d: &&Delivery| {
            d.event.message.player_id() == player && d.event.message.event_type() == event_type
        };
        seen.iter().filter(about).cloned().collect()
    }

    /// Waits until there are `count` of them.
    pub(crate) async fn wait(&self, player: &str, event_type: EventType, count: usize) -> Vec<Delivery> {
        let what = format!("{count} {} of {player}", event_type.as_str());
        testkit::eventually(&what, TIMEOUT, || async {
            let found = self.of(player, event_type);
            (found.len() >= count).then_some(found)
        })
        .await
    }
}

pub(crate) struct Platform {
    pub(crate) producer: Producer,
    pub(crate) seen: Seen,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) mongo: store::mongo::Mongo,
    service: Running,
}

static PLATFORM: OnceCell<Platform> = OnceCell::const_new();

/// Returns a configuration with an unused namespace and database, whose sweeper waits `sweep_after_ms`.
pub(crate) async fn config(sweep_after_ms: &str) -> Config {
    let settings = [
        ("PITBOSS__KAFKA__BOOTSTRAP_SERVERS", testkit::kafka()),
        ("PITBOSS__KAFKA__NAMESPACE", testkit::unique("game")),
        ("PITBOSS__SECURITY__INTERNAL_TOKEN", INTERNAL_TOKEN.to_owned()),
        ("PITBOSS__SWEEPER__FIRST_AFTER_MS", sweep_after_ms.to_owned()),
        ("PITBOSS__SWEEPER__INTERVAL_MS", "50".to_owned()),
        ("PITBOSS__SWEEPER__INTERVAL_MS_MAX", "3600000".to_owned()),
        ("PITBOSS__SWEEPER__PER_SECOND_MAX", "100".to_owned()),
    ];
    let settings = testkit::long_timeouts::environment("game").into_iter().chain(settings);
    let environment: HashMap<_, _> = settings.map(|(name, value)| (name.to_owned(), value)).collect();
    let config: Config =
        chassis::config::load(include_str!("../../src/defaults.toml"), None, environment).unwrap();
    bus::admin::ensure_topics(&config.kafka, &contracts::topics::catalogue_of(contracts::Group::Game))
        .await
        .unwrap();
    config
}

impl Platform {
    /// Returns the platform that tests share. Each test uses its own players.
    pub(crate) async fn shared() -> &'static Self {
        PLATFORM.get_or_init(|| async { Self::start(config("3600000").await).await }).await
    }

    /// Starts game with this configuration and without faults.
    pub(crate) async fn start(config: Config) -> Self {
        Self::start_with_faults(config, Faults::none()).await
    }

    /// Starts game with armed faults.
    pub(crate) async fn start_with_faults(config: Config, faults: Faults) -> Self {
        let listeners = Listeners { faults, ..Listeners::local(&[]).await.unwrap() };
        Self::start_with_listeners(config, listeners).await
    }

    /// Starts game on these listeners.
    pub(crate) async fn start_with_listeners(config: Config, listeners: Listeners) -> Self {
        let mongo = store::mongo::Mongo::connect(&config.mongo).await.unwrap();
        let producer = Producer::new(&config.kafka).unwrap();
        let seen = Seen::default();
        watch(&config.kafka, &producer, seen.clone()).await;
        let service = Running::start(game::run, config, listeners).await;
        Self { producer, seen, address: service.http, mongo, service }
    }

    pub(crate) async fn publish(&self, event: &Event) {
        self.producer.publish(event).await.unwrap();
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, serde_json::Value) {
        let token = ("x-internal-token".to_owned(), INTERNAL_TOKEN.to_owned());
        self.service.request("GET", path, &[token]).await
    }

    /// Returns the HTTP representation of a bet.
    pub(crate) async fn stored_bet(&self, bet_id: &EventId) -> serde_json::Value {
        self.get(&format!("/internal/v1/bets/{bet_id}")).await.1
    }

    /// Appends a probe record to game's dead letters of the topic (one partition) and returns its offset. That is the number of
    /// parked records plus the number of earlier calls.
    pub(crate) async fn parked(&self, topic: Topic) -> i64 {
        let topic = topic.dlq(Group::Game);
        let probe = RawRecord { topic, key: None, headers: Vec::new(), value: Vec::new().into() };
        self.producer.publish_raw(&probe).await.unwrap().offset
    }
}

pub(crate) async fn watch(kafka: &bus::Config, producer: &Producer, seen: Seen) {
    testkit::tail::start(kafka, &[Topic::BetsEvents, Topic::PaymentsCommands], seen, producer).await;
}

pub(crate) fn eur(minor: i64) -> Option<Money> {
    Some(Money { minor, currency: "EUR".to_owned() })
}

/// Builds a bet of `stake_minor` with a new id.
pub(crate) fn bet(player: &str, stake_minor: i64) -> Event {
    let id: EventId = testkit::unique("bet").parse().unwrap();
    bet_as(&id, player, stake_minor)
}

pub(crate) fn bet_as(id: &EventId, player: &str, stake_minor: i64) -> Event {
    let command =
        PlaceBet { player_id: player.to_owned(), game: "slots".to_owned(), stake: eur(stake_minor) };
    let message: Message = command.into();
    let hash = ids::request_hash(&message);
    Event::command(id.clone(), "test", hash, message)
}

/// Builds payment's answer to `command` with this balance.
pub(crate) fn applied(command: &Delivery, wager: &ApplyWager, balance_minor: i64) -> Event {
    let answer = WagerApplied {
        wager_id: wager.wager_id.clone(),
        player_id: wager.player_id.clone(),
        game: wager.game.clone(),
        stake: wager.stake.clone(),
        payout: wager.payout.clone(),
        balance_after: eur(balance_minor),
        seq: 1,
    };
    Event::follower(&command.event.id, "payment", answer)
}

pub(crate) fn apply_wager(command: &Delivery) -> ApplyWager {
    command.event.message.clone().try_into().expect("an ApplyWager")
}

/// Id, CloudEvents headers and value of an event.
pub(crate) type Identity = (String, Vec<(String, Vec<u8>)>, Vec<u8>);

/// Returns what identifies a record: id, time and bytes. Trace headers are left out, because they always differ.
pub(crate) fn identity(delivery: &Delivery) -> Identity {
    let ce_headers = delivery.record.headers.iter().filter(|(name, _)| name.starts_with("ce_"));
    let headers = ce_headers.map(|(name, value)| (name.clone(), value.to_vec())).collect();
    (delivery.event.id.to_string(), headers, delivery.record.value.to_vec())
}
