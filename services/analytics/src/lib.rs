//! Service that folds events into figures: return to player, bet volume, active players, payment success.
//!
//! One settled bet through this crate: `BetSettled` → a fact under the event's id ([`domain::fact`]) → once per interval the
//! touched buckets are recomputed from their facts → gauges, and `GET /api/v1/summary`.
//!
//! It guarantees that a replay changes nothing, because facts are keyed by `ce_id` and rollups are recomputed and never
//! incremented. Another process finishes the work of a dead one, and an older sum never replaces a newer one. The cost of a
//! recompute does not depend on the length of the history.

pub mod config;
mod document;
pub mod domain;
mod facts;
mod handlers;
mod http;
mod marks;
#[cfg(feature = "regression")]
pub mod regression;
mod report;
mod rollups;

use std::sync::{Arc, Mutex};

use chassis::internal::Internal;
use chassis::{Failure, Lifecycle, Listeners, Shutdown};
use contracts::{Part, topics::Group};
use faults::{FaultId, Place};
use store::StoreError;
use store::mongo::{DebugQueries, Mongo, ScannedRows, SlowQuery};
use telemetry::propagation::TrustPolicy;

use crate::config::Config;
use crate::domain::active::ActivePlayers;
use crate::facts::Facts;
use crate::report::Reporter;
use crate::rollups::Rollups;

/// Entry point of the program: reads the configuration and calls [`run`].
///
/// It is in the library, so that the compiler does not generate the code behind `run` a second time for `main.rs`.
#[must_use]
pub fn main() -> std::process::ExitCode {
    chassis::main(
        chassis::Service::new(Part::Analytics, env!("CARGO_PKG_VERSION"), include_str!("defaults.toml")),
        run,
    )
}

/// Runs the service until `shutdown` is triggered or a part fails.
///
/// # Errors
/// [`Failure::Missing`] when the document store cannot be reached at start-up, otherwise the error of the part that failed.
pub async fn run(config: Config, listeners: Listeners, shutdown: Shutdown) -> Result<(), Failure> {
    let mut lifecycle = Lifecycle::start(listeners, shutdown);
    let open = || async {
        let mongo = Mongo::connect(&config.mongo).await?;
        let facts = Facts::open(&mongo).await?;
        Ok::<_, StoreError>((mongo, facts))
    };
    let Some((mongo, facts)) = lifecycle.start_phase("document store", open).await? else {
        return lifecycle.run().await;
    };
    let producer = bus::Producer::new(&config.kafka)?;

    let window_ms = i64::try_from(config.players.active_window_ms).unwrap_or(i64::MAX);
    let active = Arc::new(Mutex::new(ActivePlayers::new(window_ms, config.players.active_max)));
    let rollups = Arc::new(Rollups::new(facts.clone(), config.rollups));
    let router = handlers::router(&rollups, &active, facts.clone(), lifecycle.faults(), producer.clone());
    let consumer = bus::Consumer::new(&config.kafka, Group::Analytics, router, producer.clone())?;
    let consumer = consumer.with_hook(chassis::faults::record_hook(&lifecycle.faults()));
    let reporter = Reporter::new(Arc::clone(&active));

    let scanned_rows = ScannedRows::new(&mongo, "slow_aggregation_facts", SlowQuery::Aggregate);
    keep_rows(&mut lifecycle, scanned_rows.clone());
    let queries = DebugQueries::new(&mongo).with_rows(scanned_rows.clone());
    let debug = lifecycle.debug(Part::Analytics).with_store(queries);
    let internal = Internal::new(config.security.internal_token.clone());
    lifecycle.accept_profile_requests(internal.clone());
    let debug_routes = debug.guarded_routes(internal);
    let routes = http::routes(facts, active, lifecycle.faults(), scanned_rows).merge(debug_routes);
    lifecycle.serve(chassis::http::router(routes, lifecycle.http(), TrustPolicy::inside()));
    let stop_deadline = config.kafka.stop_deadline();
    lifecycle.consume_as(Group::Analytics, stop_deadline, |stop, ready| {
        consumer.run(stop, move |is| ready.set(is))
    });
    lifecycle.background("rollups", |token| rollups.run(reporter, token));
    lifecycle.on_flush("producer", move |within| async move { producer.flush(within).await });
    lifecycle.run().await
}

/// Writes the rows of the fault `analytics.slow-aggregation` while it is armed, and drops them afterwards.
fn keep_rows(lifecycle: &mut Lifecycle, rows: ScannedRows) {
    let faults = lifecycle.faults();
    let is_armed = move || faults.arming(FaultId::AnalyticsSlowAggregation, Place::Preparation).is_some();
    lifecycle.background("rows of a slow aggregation", |stop| async move {
        stop.run_until_cancelled(rows.keep(is_armed)).await;
        Ok::<(), StoreError>(())
    });
}
