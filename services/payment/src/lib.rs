//! Payment: the ledger of the platform, and its only hand in money.
//!
//! One bet through this crate: `ApplyWager` arrives ([`handlers`]); the ledger reads the player's account, lets the pure
//! [`domain`] decide, writes decision and balance in one compare-and-set, copies the decision to the ledger and publishes its
//! event ([`ledger`]); only then is the record complete. Deposits and withdrawals are decided the same way, twice: when they
//! are asked for, and when the card provider ([`provider`]) has answered. [`http`] tells balances to the gateway.
//!
//! What may not break, whatever dies in between: see [`ledger`].
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

/// How often the document store is asked for a sign of life, and how long a start waits between two tries.
const STORE_PROBE_MS: u64 = 1_000;

/// The whole program: reads the configuration and calls [`run`].
///
/// It stands here because the compiler generates the code of all that `run` calls where it is started. In `main.rs` it would do so
/// once more.
#[must_use]
pub fn main() -> std::process::ExitCode {
    let part = contracts::parts::Part::Payment;
    chassis::main(chassis::Service::new(part, env!("CARGO_PKG_VERSION"), include_str!("defaults.toml")), run)
}

/// Runs payment until `shutdown`.
///
/// # Errors
/// When a part that it cannot live without fails.
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

    // After the consumer has ended: what it relayed last leaves the tails too, so the next process sweeps nothing.
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

/// Waits for the store and creates the indexes. False: the end was asked for first.
async fn prepare(
    mongo: &Mongo,
    ledger: &Ledger,
    intents: &Intents,
    shutdown: &Shutdown,
) -> Result<bool, Failure> {
    loop {
        let prepared: Result<(), StoreError> = async {
            // Learns the store's time before anything is written by it.
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

/// Keeps readiness honest while the store comes and goes.
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

    /// The probe learns it again each second; what is decided before that must not be an hour off.
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
