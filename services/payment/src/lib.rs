//! Payment: the ledger of the platform. Only this service moves money.
//!
//! One bet through this crate: `ApplyWager` arrives ([`handlers`]). The ledger reads the player's account and lets the pure
//! [`domain`] decide. It writes decision and balance in one compare-and-set, copies the decision to the ledger and publishes its
//! event ([`ledger`]). Only then is the record complete.
//!
//! Deposits and withdrawals take two decisions, one on the request and one on the answer of the card provider ([`provider`]).
//! [`http`] returns balances to the gateway. [`ledger`] lists the guarantees that hold when a process dies at any step.
#![deny(clippy::float_arithmetic)]

pub mod config;
pub mod domain;
pub mod handlers;
pub mod http;
pub mod ledger;
pub mod provider;

use std::sync::Arc;
use std::time::Duration;

use bus::lag::BacklogReader;
use bus::{Consumer, Producer};
use chassis::internal::Internal;
use chassis::{Edges, Failure, Life, ReadyFlag, Shutdown};
use contracts::{Classify, ErrorClass, Group, Topic};
use store::StoreError;
use store::mongo::Mongo;
use telemetry::propagation::TrustPolicy;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use config::Config;
use ledger::Ledger;
use provider::client::CardProvider;
use provider::intents::Intents;
use provider::pool::Pool;

/// Interval of the store's health check, and pause between two attempts to prepare the store at start-up.
const STORE_PROBE_MS: u64 = 1_000;

/// Entry point of the program. Reads the configuration and calls [`run`].
///
/// It is in the library because the compiler generates the code of everything that `run` calls in the crate that starts it. In
/// `main.rs` that code would be generated a second time.
#[must_use]
pub fn main() -> std::process::ExitCode {
    let part = contracts::parts::Part::Payment;
    chassis::main(chassis::Service::new(part, env!("CARGO_PKG_VERSION"), include_str!("defaults.toml")), run)
}

/// Runs payment until `shutdown`. Fails when a required part fails.
pub async fn run(config: Config, edges: Edges, shutdown: Shutdown) -> Result<(), Failure> {
    let mut life = Life::start(edges, &config, shutdown);
    let store_ready = life.readiness().register("mongo");
    let kafka_ready = life.readiness().register("kafka");
    let mongo = Mongo::open(&config.mongo).await?;
    let producer = Producer::new(&config.kafka)?;
    let (door, waiting) = mpsc::channel(config.provider.waiting_max);
    let intents = Intents::new(&mongo, door, config.provider.lease_ms);
    let ledger = Ledger::new(mongo.clone(), Arc::new(producer.clone()), Arc::new(intents.clone()));
    if !prepare(&mongo, &ledger, &intents, life.shutdown()).await? {
        return life.run().await;
    }
    store_ready.set(true);

    let router = handlers::router(&ledger);
    let consumer = Consumer::new(&config.kafka, Group::Payment, router, producer.clone())?;
    life.consume("consumer", |stop| consumer.run(stop, move |ready| kafka_ready.set(ready)));
    let trimmed = ledger.clone();
    life.background("trim", |stop| ledger::trim::run(trimmed, config.ledger.trim_interval_ms, stop));
    let sweep = ledger::sweeper::Sweep {
        interval_ms: config.ledger.sweep_interval_ms,
        older_than_ms: config.ledger.sweep_older_than_ms,
    };
    let swept = ledger.clone();
    life.background("sweeper", |stop| ledger::sweeper::run(swept, sweep, stop));
    let internal = Internal::new(config.security.internal_token.clone());
    let pool = Pool {
        provider: CardProvider::new(&config.peers.partners, config.provider.timeout_ms, internal.clone())?,
        intents: intents.clone(),
        producer: producer.clone(),
        ledger: ledger.clone(),
        backlog: Arc::new(BacklogReader::new(&config.kafka, Group::Payment, &[Topic::PaymentsCommands])?),
        config: config.provider.clone(),
    };
    life.background("provider", |stop| pool.run(waiting, stop));
    life.background("store probe", |stop| probe(mongo, store_ready, stop));

    // Runs after the consumer has ended. It trims the decisions relayed last, so the next process has nothing to sweep.
    let trimmed = ledger.clone();
    life.on_flush("trim", move |_| async move { trimmed.trim().await });
    let flushed = producer.clone();
    let app = http::App {
        ledger,
        intents,
        producer,
        webhook_secret: config.security.webhook_secret.clone(),
        webhook_secret_old: config.security.webhook_secret_old.clone(),
    };
    let routes = chassis::http::internal(http::routes(app), internal);
    life.serve(chassis::http::layered(routes, &config.http, TrustPolicy::inside()));
    life.on_flush("producer", move |within| async move { flushed.flush(within).await });
    life.run().await
}

/// Waits for the store and creates the indexes. Returns false when a shutdown was requested first.
async fn prepare(
    mongo: &Mongo,
    ledger: &Ledger,
    intents: &Intents,
    shutdown: &Shutdown,
) -> Result<bool, Failure> {
    loop {
        let prepared: Result<(), StoreError> = async {
            // Reads the store's time before any write uses it.
            mongo.ping().await?;
            ledger.ensure_indexes().await?;
            intents.ensure_indexes().await
        }
        .await;
        match prepared {
            Ok(()) => return Ok(true),
            Err(error) if error.class() == ErrorClass::Transient => {
                tracing::warn!(error = %error, "the document store is not there yet, trying again");
            }
            Err(error) => return Err(Failure::missing("the document store cannot be prepared", error)),
        }
        tokio::select! {
            () = shutdown.requested() => return Ok(false),
            () = tokio::time::sleep(Duration::from_millis(STORE_PROBE_MS)) => {}
        }
    }
}

/// Updates readiness as the store becomes available or unavailable.
async fn probe(mongo: Mongo, ready: ReadyFlag, stop: CancellationToken) -> Result<(), StoreError> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(Duration::from_millis(STORE_PROBE_MS)) => {}
        }
        ready.set(mongo.ping().await.is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    /// The probe reads the store's time each second. Decisions made before its first run must not be an hour off either.
    #[tokio::test]
    async fn the_stores_time_is_known_before_the_service_begins() {
        let kafka = bus::Config { bootstrap_servers: testkit::kafka(), ..bus::Config::default() };
        let mongo = Mongo::open(&testkit::patient::mongo("pay")).await.unwrap();
        let mongo = mongo.with_clock_off_by(HOUR_MS);
        let (door, _waiting) = mpsc::channel(1);
        let intents = Intents::new(&mongo, door, 1_000);
        let outbox = Arc::new(Producer::new(&kafka).unwrap());
        let ledger = Ledger::new(mongo.clone(), outbox, Arc::new(intents.clone()));
        assert!(prepare(&mongo, &ledger, &intents, &Shutdown::new()).await.unwrap());
        let off_ms = mongo.now().timestamp_millis() - bson::DateTime::now().timestamp_millis();
        mongo.drop_database().await.unwrap();
        assert!(off_ms.abs() < HOUR_MS / 2, "{off_ms}");
    }
}
