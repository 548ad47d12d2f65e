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
use chassis::{Failure, Lifecycle, Listeners, ReadyFlag, Shutdown};
use contracts::{Group, Part, Topic};
use store::StoreError;
use store::mongo::{DebugQueries, Mongo};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use config::Config;
use ledger::Ledger;
use provider::client::CardProvider;
use provider::intents::Intents;
use provider::pool::Pool;

/// Interval of the store's health check.
const STORE_PROBE_MS: u64 = 1_000;

/// Entry point of the program: reads the configuration and calls [`run`].
///
/// It is in the library, so that the compiler does not generate the code behind `run` a second time for `main.rs`.
#[must_use]
pub fn main() -> std::process::ExitCode {
    chassis::main(
        chassis::Service::new(Part::Payment, env!("CARGO_PKG_VERSION"), include_str!("defaults.toml")),
        run,
    )
}

/// Runs payment until `shutdown`. Fails when a required part fails.
pub async fn run(config: Config, listeners: Listeners, shutdown: Shutdown) -> Result<(), Failure> {
    let mut lifecycle = Lifecycle::start(listeners, shutdown);
    let store_ready = lifecycle.readiness().register("mongo");
    let mongo = Mongo::open(&config.mongo).await.map_err(Failure::invalid_setting)?;
    let producer = Producer::new(&config.kafka)?;
    let (new_payments, waiting_payments) = mpsc::channel(config.provider.waiting_max);
    let intents = Intents::new(&mongo, new_payments, config.provider.lease_ms);
    let ledger = Ledger::new(mongo.clone(), Arc::new(producer.clone()), Arc::new(intents.clone()));
    let prepared = lifecycle.start_phase("document store", || prepare(&mongo, &ledger, &intents)).await?;
    if prepared.is_none() {
        return lifecycle.run().await;
    }
    store_ready.set(true);

    let router = handlers::router(&ledger, config.limits.loosen_after_ms);
    let consumer = Consumer::new(&config.kafka, Group::Payment, router, producer.clone())?;
    let consumer = consumer.with_hook(chassis::faults::record_hook(&lifecycle.faults()));
    let stop_deadline = config.kafka.stop_deadline();
    lifecycle
        .consume_as(Group::Payment, stop_deadline, |stop, ready| consumer.run(stop, move |is| ready.set(is)));
    let trimmed = ledger.clone();
    lifecycle.background("trim", |stop| ledger::trim::run(trimmed, config.ledger.trim_interval_ms, stop));
    let sweep = ledger::sweeper::Sweep {
        interval_ms: config.ledger.sweep_interval_ms,
        older_than_ms: config.ledger.sweep_older_than_ms,
    };
    let swept = ledger.clone();
    lifecycle.background("sweeper", |stop| ledger::sweeper::run(swept, sweep, stop));
    let internal = Internal::new(config.security.internal_token.clone());
    let pool = Pool {
        provider: CardProvider::new(&config.peers.partners, config.provider.timeout_ms, internal.clone())?,
        intents: intents.clone(),
        producer: producer.clone(),
        ledger: ledger.clone(),
        backlog: Arc::new(BacklogReader::new(&config.kafka, Group::Payment, &[Topic::PaymentsCommands])?),
        faults: lifecycle.faults(),
        config: config.provider.clone(),
    };
    lifecycle.background("provider", |stop| pool.run(waiting_payments, stop));
    let debug = lifecycle.debug(Part::Payment).with_store(DebugQueries::new(&mongo));
    lifecycle.background("store probe", |stop| probe(mongo, store_ready, stop));

    // Runs after the consumer has ended. It trims the decisions relayed last, so the next process has nothing to sweep.
    let trimmed = ledger.clone();
    lifecycle.on_flush("trim", move |_| async move { trimmed.trim().await });
    let flushed = producer.clone();
    let app = http::App {
        ledger,
        intents,
        producer,
        webhook_secret: config.security.webhook_secret.clone(),
        webhook_secret_old: config.security.webhook_secret_old.clone(),
    };
    lifecycle.serve_internal(http::routes(app).merge(debug.routes()), internal);
    lifecycle.on_flush("producer", move |within| async move { flushed.flush(within).await });
    lifecycle.run().await
}

/// Creates the indexes.
async fn prepare(mongo: &Mongo, ledger: &Ledger, intents: &Intents) -> Result<(), StoreError> {
    // Reads the store's time before any write uses it.
    mongo.ping().await?;
    ledger.ensure_indexes().await?;
    intents.ensure_indexes().await
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

    /// The probe reads the store's time each second. Decisions before its first run must use that time, too.
    #[tokio::test]
    async fn store_time_is_read_before_service_starts() {
        let kafka = bus::Config { bootstrap_servers: testkit::kafka(), ..bus::Config::default() };
        let mongo = Mongo::open(&testkit::long_timeouts::mongo("pay")).await.unwrap();
        let mongo = mongo.with_clock_off_by(HOUR_MS);
        let (new_payments, _receiver) = mpsc::channel(1);
        let intents = Intents::new(&mongo, new_payments, 1_000);
        let outbox = Arc::new(Producer::new(&kafka).unwrap());
        let ledger = Ledger::new(mongo.clone(), outbox, Arc::new(intents.clone()));
        prepare(&mongo, &ledger, &intents).await.unwrap();
        let off_ms = mongo.now().timestamp_millis() - bson::DateTime::now().timestamp_millis();
        mongo.drop_database().await.unwrap();
        assert!(off_ms.abs() < HOUR_MS / 2, "{off_ms}");
    }
}
