//! Lagwatch reads watermarks and committed offsets from outside every group: lag in messages and in seconds, also of a group
//! that is dead and can report nothing itself.
//!
//! It needs nothing but the broker, holds no state, and is ready only while it can see.

pub mod config;
mod http;
mod watch;

use std::sync::Arc;

use chassis::{Edges, Failure, Life, Shutdown};
use contracts::topics::Group;

use crate::config::Config;
use crate::watch::{Board, Watch};

/// The whole program: reads the configuration and calls [`run`].
///
/// It stands here because the compiler generates the code of all that `run` calls where it is started. In `main.rs` it would do so
/// once more.
#[must_use]
pub fn main() -> std::process::ExitCode {
    let part = contracts::parts::Part::Lagwatch;
    chassis::main(chassis::Service::new(part, env!("CARGO_PKG_VERSION"), include_str!("defaults.toml")), run)
}

/// Runs the service until `shutdown` or until a part fails.
///
/// # Errors
/// What failed.
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
