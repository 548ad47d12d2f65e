//! The service for players: identity, sessions, self-imposed limits and history.
//!
//! One bet through this crate: before the bet, the gateway checks that the session is open ([`sessions`], served by the cache,
//! with the document store as the source of truth). After it, `BetSettled` becomes an entry of the player's [`history`].
//!
//! It guarantees six things. A registration or change and its event are one write ([`players`]). The same idempotency key gets
//! the same answer or a 422. The loss of the cache costs only time. A page of the history costs the same at any depth. A password
//! is hashed in bounded memory and never leaves the service ([`passwords`]). Guesses at one account are bounded ([`attempts`]).

pub mod attempts;
pub mod config;
pub mod domain;
pub mod error;
mod handlers;
pub mod history;
mod http;
pub mod passwords;
pub mod players;
pub mod sessions;

use chassis::internal::Internal;
use chassis::{Failure, Lifecycle, Listeners, Shutdown};
use contracts::{Group, Part};
use faults::{FaultId, Place};
use store::StoreError;
use store::mongo::{DebugQueries, Mongo, ScannedRows, SlowQuery};
use store::redis::Cache;
use telemetry::propagation::TrustPolicy;

use crate::attempts::Attempts;
use crate::config::Config;
use crate::history::History;
use crate::passwords::Passwords;
use crate::players::{Players, Sweeper};
use crate::sessions::Sessions;

/// Paths of the internal interface, for the test that compares its route list with them.
#[must_use]
pub fn paths() -> Vec<String> {
    chassis::http::paths(&http::table())
}

/// Entry point of the program: reads the configuration and calls [`run`].
///
/// It is in the library, so that the compiler does not generate the code behind `run` a second time for `main.rs`.
#[must_use]
pub fn main() -> std::process::ExitCode {
    chassis::main(
        chassis::Service::new(Part::User, env!("CARGO_PKG_VERSION"), include_str!("defaults.toml")),
        run,
    )
}

/// Runs the service until `shutdown` or until a part fails.
///
/// # Errors
/// [`Failure::Missing`] when the document store is unreachable at the start, or the failure of a part.
pub async fn run(config: Config, listeners: Listeners, shutdown: Shutdown) -> Result<(), Failure> {
    let mut lifecycle = Lifecycle::start(listeners, shutdown);
    let cache = Cache::new(&config.redis)?;
    let producer = bus::Producer::new(&config.kafka)?;
    let passwords = Passwords::new(config.passwords)
        .map_err(|error| Failure::missing("cannot start the threads that hash passwords", error))?;
    let attempts = Attempts::new(cache.clone(), config.attempts);
    let open = || async {
        let mongo = Mongo::connect(&config.mongo).await?;
        let players = Players::open(&mongo, producer.clone(), passwords.clone(), attempts.clone()).await?;
        let sessions = Sessions::open(&mongo, players.clone(), cache.clone(), config.sessions).await?;
        let history = History::open(&mongo).await?;
        Ok::<_, StoreError>((mongo, players, sessions, history))
    };
    let opened = lifecycle.start_phase("document store", open).await?;
    let Some((mongo, players, sessions, history)) = opened else { return lifecycle.run().await };

    let consumer =
        bus::Consumer::new(&config.kafka, Group::User, handlers::router(&history), producer.clone())?;
    let consumer = consumer.with_hook(chassis::faults::record_hook(&lifecycle.faults()));
    let sweeper = Sweeper::new(players.clone(), config.sweeper);
    let internal = Internal::new(config.security.internal_token.clone());
    lifecycle.accept_profile_requests(internal.clone());
    let faults = lifecycle.faults();
    let scanned_rows = ScannedRows::new(&mongo, "slow_query_rows", SlowQuery::Find);
    keep_rows(&mut lifecycle, scanned_rows.clone());
    let queries = DebugQueries::new(&mongo).with_rows(scanned_rows.clone());
    let debug = lifecycle.debug(Part::User).with_store(queries);
    let api = http::Api { players, sessions, history, faults, scanned_rows };
    let routes = http::routes(api, &debug, internal);

    lifecycle.serve(chassis::http::layered(routes, lifecycle.http(), TrustPolicy::inside()));
    let stop_deadline = config.kafka.stop_deadline();
    lifecycle
        .consume_as(Group::User, stop_deadline, |stop, ready| consumer.run(stop, move |is| ready.set(is)));
    lifecycle.background("sweeper", |token| sweeper.run(token));
    lifecycle.on_flush("producer", move |within| async move { producer.flush(within).await });
    lifecycle.run().await
}

/// Writes the rows of the fault `user.slow-query` while it is armed, and drops them afterwards.
fn keep_rows(lifecycle: &mut Lifecycle, rows: ScannedRows) {
    let faults = lifecycle.faults();
    let is_armed = move || faults.arming(FaultId::UserSlowQuery, Place::Preparation).is_some();
    lifecycle.background("rows of a slow query", |stop| async move {
        stop.run_until_cancelled(rows.keep(is_armed)).await;
        Ok::<(), StoreError>(())
    });
}
