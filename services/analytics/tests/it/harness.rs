//! Test harness: runs the real service in this process, with its own namespace and database.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use analytics::config::Config;
use bus::Producer;
use chassis::Listeners;
use contracts::proto::bets::v1::{BetRejected, BetSettled, BetVoided};
use contracts::proto::common::v1::Money;
use contracts::proto::payments::v1::{DepositCompleted, DepositFailed};
use contracts::{Event, RejectReason};
use faults::Faults;
use store::bson::{Document, doc};
use store::mongo::Mongo;
use testkit::service::Running;

pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) struct Platform {
    pub(crate) producer: Producer,
    pub(crate) mongo: Mongo,
    service: Running,
}

/// Returns a configuration with an unused namespace and database.
pub(crate) fn config() -> Config {
    let settings = [
        ("PITBOSS__KAFKA__BOOTSTRAP_SERVERS", testkit::kafka()),
        ("PITBOSS__KAFKA__NAMESPACE", testkit::unique("analytics")),
        ("PITBOSS__ROLLUPS__INTERVAL_MS", "50".to_owned()),
        ("PITBOSS__ROLLUPS__TAKEOVER_INTERVAL_MS", "50".to_owned()),
    ];
    let settings = testkit::long_timeouts::environment("analytics").into_iter().chain(settings);
    let environment: HashMap<_, _> = settings.map(|(name, value)| (name.to_owned(), value)).collect();
    chassis::config::load(include_str!("../../src/defaults.toml"), None, environment).unwrap()
}

impl Platform {
    pub(crate) async fn start(config: Config) -> Self {
        Self::start_with_faults(config, Faults::none()).await
    }

    pub(crate) async fn start_with_faults(config: Config, faults: Faults) -> Self {
        let listeners = Listeners { faults, ..Listeners::local(&[]).await.unwrap() };
        Self::start_with_listeners(config, listeners).await
    }

    pub(crate) async fn start_with_listeners(config: Config, listeners: Listeners) -> Self {
        bus::admin::ensure_topics(
            &config.kafka,
            &contracts::topics::catalogue_of(contracts::Group::Analytics),
        )
        .await
        .unwrap();
        let mongo = Mongo::connect(&config.mongo).await.unwrap();
        let producer = Producer::new(&config.kafka).unwrap();
        let service = Running::start(analytics::run, config, listeners).await;
        Self { producer, mongo, service }
    }

    /// Address of the internal interface.
    pub(crate) fn address(&self) -> SocketAddr {
        self.service.http
    }

    pub(crate) async fn publish(&self, events: &[Event]) {
        for event in events {
            self.producer.publish(event).await.unwrap();
        }
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, serde_json::Value) {
        self.service.request("GET", path, &[]).await
    }

    /// Returns the metrics in Prometheus' format.
    pub(crate) async fn metrics(&self) -> String {
        testkit::http::text(self.service.ops, "/metrics").await.unwrap()
    }

    /// Returns the summary as soon as it counts this number of bets.
    pub(crate) async fn summary(&self, bets: i64) -> serde_json::Value {
        testkit::eventually(&format!("{bets} bets in the summary"), TIMEOUT, || async {
            let (_, summary) = self.get("/api/v1/summary").await;
            (summary["games"][0]["bets"] == bets).then_some(summary)
        })
        .await
    }

    /// Returns all stored documents except the marks, which are temporary.
    pub(crate) async fn stored(&self) -> Vec<Document> {
        let mut all = Vec::new();
        for name in ["facts", "rollups"] {
            let documents = self.mongo.collection::<Document>(name);
            all.extend(documents.find(doc! {}, doc! { "_id": 1 }, 100_000).await.unwrap());
        }
        all
    }

    /// Waits until `count` facts are stored.
    pub(crate) async fn facts(&self, count: usize) {
        let facts = self.mongo.collection::<Document>("facts");
        testkit::eventually(&format!("{count} facts"), TIMEOUT, || async {
            (facts.count(doc! {}).await.unwrap() >= count as u64).then_some(())
        })
        .await;
    }

    /// Stops the service in an orderly way. The transactions of all handled records have ended then.
    pub(crate) async fn stop(self) {
        self.service.stop().await;
    }

    /// Waits until no bucket has to be recomputed.
    pub(crate) async fn until_clean(&self) {
        let dirty = self.mongo.collection::<Document>("dirty");
        testkit::eventually("no dirty bucket", TIMEOUT, || async {
            (dirty.count(doc! {}).await.unwrap() == 0).then_some(())
        })
        .await;
    }
}

pub(crate) fn eur(minor: i64) -> Option<Money> {
    Some(Money { minor, currency: "EUR".to_owned() })
}

fn event(message: impl Into<contracts::Message>) -> Event {
    Event::follower(&testkit::unique("cause").parse().unwrap(), "test", message)
}

pub(crate) fn settled(player: &str, stake_minor: i64, payout_minor: i64) -> Event {
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

/// Builds the void of a bet. `reversed` is the stake and payout that it reversed.
pub(crate) fn voided(player: &str, reversed: Option<(i64, i64)>) -> Event {
    event(BetVoided {
        bet_id: testkit::unique("bet"),
        player_id: player.to_owned(),
        game: "slots".to_owned(),
        stake: eur(100),
        reason: "by hand".to_owned(),
        reversed_stake: reversed.and_then(|(stake_minor, _)| eur(stake_minor)),
        reversed_payout: reversed.and_then(|(_, payout_minor)| eur(payout_minor)),
    })
}

pub(crate) fn rejected(player: &str) -> Event {
    rejected_in("slots", player, RejectReason::InsufficientFunds)
}

pub(crate) fn rejected_in(game: &str, player: &str, reason: RejectReason) -> Event {
    event(BetRejected {
        bet_id: testkit::unique("bet"),
        player_id: player.to_owned(),
        game: game.to_owned(),
        stake: eur(100),
        reason: reason.into(),
    })
}

pub(crate) fn deposited(player: &str, minor: i64) -> Event {
    event(DepositCompleted {
        payment_id: testkit::unique("payment"),
        player_id: player.to_owned(),
        amount: eur(minor),
        balance_after: eur(minor),
        provider_reference: "r".to_owned(),
    })
}

pub(crate) fn deposit_failed(player: &str) -> Event {
    event(DepositFailed {
        payment_id: testkit::unique("payment"),
        player_id: player.to_owned(),
        amount: eur(100),
        reason: RejectReason::ProviderDeclined.into(),
    })
}
