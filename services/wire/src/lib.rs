//! A proxy between one service and the broker. It understands the framing of Kafka's protocol, and nothing else of it.
//!
//! One request through this crate: [`frame`] reads its length and header and remembers its correlation id. The rest passes byte
//! for byte through a buffer of fixed size. The response carries the same id, so the proxy knows which request it answers. Here
//! two faults act between client and broker: an answer gets lost, or the connection stays open and silent (`wire_faults`).
//!
//! It guarantees that nothing is changed or reordered, that its memory is bounded by the number of its connections, and that a
//! slow reader slows its writer down. Without a fault it drops no answer. The broker advertises the proxy's address to the clients
//! of its listener `WIRE`, so no answer has to be rewritten. `docs/WIRE.md` has the details.

pub mod config;
mod connection;
mod frame;
mod pipe;
mod proxy;
mod wire_faults;

use axum::Router;
use chassis::{Failure, Lifecycle, Listeners, Shutdown};
use telemetry::propagation::TrustPolicy;

use crate::config::Config;

/// Entry point of the program: reads the configuration and calls [`run`].
///
/// It is in the library, so that the compiler does not generate the code behind `run` a second time for `main.rs`.
#[must_use]
pub fn main() -> std::process::ExitCode {
    let part = contracts::parts::Part::Wire;
    chassis::main(chassis::Service::new(part, env!("CARGO_PKG_VERSION"), include_str!("defaults.toml")), run)
}

/// Runs the proxy until `shutdown`.
///
/// # Errors
/// When a listener fails. A broker that cannot be reached is not an error: its clients are disconnected, as by the broker itself.
pub async fn run(config: Config, mut listeners: Listeners, shutdown: Shutdown) -> Result<(), Failure> {
    let listener = listeners.take(config::WIRE)?;
    let mut lifecycle = Lifecycle::start(listeners, shutdown);
    let faults = lifecycle.faults();
    lifecycle.serve(chassis::http::router(Router::new(), lifecycle.http(), TrustPolicy::inside()));
    lifecycle.serve_with("wire", |stop| proxy::serve(listener, config.wire, faults, stop));
    lifecycle.run().await
}
