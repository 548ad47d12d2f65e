//! Service that reads watermarks and committed offsets from outside every consumer group. It reports lag in messages and seconds,
//! also of a dead group that cannot report it.
//!
//! It needs only the broker, stores nothing, and is ready only while it can read the lag.

pub mod config;
mod gauges;
mod http;
mod watch;

use std::sync::Arc;

use chassis::{Failure, Lifecycle, Listeners, Shutdown};
use contracts::topics::Group;
use telemetry::propagation::TrustPolicy;

use crate::config::Config;
use crate::watch::{LagCache, Watch};

/// Entry point of the program: reads the configuration and calls [`run`].
///
/// It is in the library, so that the compiler does not generate the code behind `run` a second time for `main.rs`.
#[must_use]
pub fn main() -> std::process::ExitCode {
    let part = contracts::parts::Part::Lagwatch;
    chassis::main(chassis::Service::new(part, env!("CARGO_PKG_VERSION"), include_str!("defaults.toml")), run)
}

/// Runs the service until `shutdown` is triggered or a part fails.
///
/// # Errors
/// The error of the part that failed. A broker that cannot be reached is not an error.
pub async fn run(config: Config, listeners: Listeners, shutdown: Shutdown) -> Result<(), Failure> {
    let mut lifecycle = Lifecycle::start(listeners, shutdown);
    let reader = Arc::new(bus::lag::Reader::new(&config.kafka, Group::ALL)?);
    let cache = Arc::new(LagCache::default());
    let watch = Watch::new(
        reader,
        Arc::clone(&cache),
        config.watch.interval_ms,
        lifecycle.readiness().register("kafka"),
    );

    let routes = http::routes(cache, config.watch.answer_age_ms_max);
    lifecycle.serve(chassis::http::router(routes, lifecycle.http(), TrustPolicy::inside()));
    lifecycle.background("watch", |token| watch.run(token));
    lifecycle.run().await
}
