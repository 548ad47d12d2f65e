//! Service that reads watermarks and committed offsets from outside every consumer group. It reports lag in messages and seconds,
//! also of a dead group that cannot report it.
//!
//! It needs only the broker, stores nothing, and is ready only while it can read the lag.

pub mod config;
mod http;
mod watch;

use std::sync::Arc;

use chassis::{Edges, Failure, Life, Shutdown};
use contracts::topics::Group;

use crate::config::Config;
use crate::watch::{Board, Watch};

/// Entry point of the program: reads the configuration and calls [`run`].
///
/// It is defined in the library because the compiler would otherwise generate the code of everything that `run` calls a second
/// time for `main.rs`.
#[must_use]
pub fn main() -> std::process::ExitCode {
    let part = contracts::parts::Part::Lagwatch;
    chassis::main(chassis::Service::new(part, env!("CARGO_PKG_VERSION"), include_str!("defaults.toml")), run)
}

/// Runs the service until `shutdown` is triggered or a part fails.
///
/// # Errors
/// The error of the part that failed. A broker that cannot be reached is not an error.
pub async fn run(config: Config, edges: Edges, shutdown: Shutdown) -> Result<(), Failure> {
    let mut life = Life::start(edges, &config, shutdown);
    let reader = Arc::new(bus::lag::Reader::new(&config.kafka, Group::ALL)?);
    let board = Arc::new(Board::default());
    let watch =
        Watch::new(reader, Arc::clone(&board), config.watch.interval_ms, life.readiness().register("kafka"));

    let routes = http::routes(board, config.watch.answer_age_ms_max);
    life.serve(chassis::http::router(routes, &config.http, telemetry::propagation::TrustPolicy::inside()));
    life.background("watch", |token| watch.run(token));
    life.run().await
}
