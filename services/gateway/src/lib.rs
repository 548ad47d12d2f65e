//! The HTTP edge of the platform.
//!
//! It never touches a balance: a write becomes a command on Kafka, and the outcome that comes back on the event topics becomes
//! the answer. One bet through this crate:
//!
//! 1. [`routes`] — `POST /api/v1/bets`: who asks (`auth`), how often (`limits`), what exactly (`domain`).
//! 2. `writes` — the key becomes the command's id; a reply that is known is repeated; else a seat is taken (`waiters`).
//! 3. `commands` — published, acknowledged.
//! 4. `handlers` — the outcome comes by and is told to the seat; nothing came in time: 202, or the owner is asked.
//!
//! The promises kept here: the same key is the same command and the same bytes; 202 only after the broker's acknowledgement;
//! one player never sees another's; everything that strangers can fill is bounded.

mod auth;
mod commands;
mod config;
mod domain;
mod handlers;
mod limits;
mod owner;
mod peers;
mod replies;
mod restrictions;
mod routes;
mod sessions;
mod state;
mod waiters;
mod writes;

use std::sync::Arc;

use bus::{Producer, Tail};
use chassis::{Edges, Failure, Life, Shutdown};
use contracts::Message;
use telemetry::propagation::TrustPolicy;
use tokio_util::sync::CancellationToken;

pub use commands::Commands;
pub use config::{Bets, Config, Limits, Peers, Security, Sessions};
pub use routes::docs::Description;

/// The whole program: reads the configuration and calls [`run`].
///
/// It stands here because the compiler generates the code of all that `run` calls where it is started. In `main.rs` it would do so
/// once more.
#[must_use]
pub fn main() -> std::process::ExitCode {
    let part = contracts::parts::Part::Gateway;
    chassis::main(chassis::Service::new(part, env!("CARGO_PKG_VERSION"), include_str!("defaults.toml")), run)
}

/// Runs the gateway until it is told to end.
///
/// # Errors
/// What made it end otherwise.
pub async fn run(config: Config, edges: Edges, shutdown: Shutdown) -> Result<(), Failure> {
    let mut life = Life::start(edges, &config, shutdown);
    let producer = Producer::new(&config.kafka)?;
    let gateway = state::Gateway::new(&config, Arc::new(producer.clone()))?;
    let tail = Tail::new(&config.kafka, &handlers::TOPICS, handlers::router(&gateway), producer.clone())?;
    let outcomes = life.readiness().register("outcomes");
    life.serve(router(&gateway, &config));
    life.consume("outcomes", |stop| tail.run(stop, move |ready| outcomes.set(ready)));
    let gave_up = gateway.gave_up.clone();
    life.background("producer", |stop| end_with_the_producer(gave_up, stop));
    life.on_flush("producer", move |within| async move { producer.flush(within).await });
    life.run().await
}

/// A producer that is dead for good ends the process, so that a new one takes its place. The other services' handlers fail
/// with their producer; here nothing else would.
async fn end_with_the_producer(
    gave_up: CancellationToken,
    stop: CancellationToken,
) -> Result<(), &'static str> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Ok(()),
        () = gave_up.cancelled() => Err("the producer has given up: only a new process can publish"),
    }
}

fn router(gateway: &state::Gateway, config: &Config) -> axum::Router {
    let operator = gateway.operator.clone();
    let trust = TrustPolicy::outside(config.security.public_keys().map(str::to_owned))
        .with_operator(move |headers| operator.is(headers));
    chassis::http::layered(routes::router(gateway), &config.http, trust)
}

/// The gateway without Kafka: its routes over any [`Commands`], told of outcomes by hand. For tests.
#[derive(Clone, Debug)]
pub struct Standalone {
    gateway: state::Gateway,
}

impl Standalone {
    /// A gateway that publishes through `commands`.
    ///
    /// # Errors
    /// When the configuration cannot be lived with.
    pub fn new(config: &Config, commands: Arc<dyn Commands>) -> Result<Self, Failure> {
        Ok(Self { gateway: state::Gateway::new(config, commands)? })
    }

    /// The routes with everything around them.
    pub fn router(&self, config: &Config) -> axum::Router {
        router(&self.gateway, config)
    }

    /// The paths that are served, for the test that no route is forgotten in.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        chassis::http::paths(&routes::router(&self.gateway))
    }

    /// As if this came by on an event topic; `false` when nobody waits for it.
    #[must_use]
    pub fn hear(&self, message: &Message) -> bool {
        handlers::tell(&self.gateway, message)
    }

    /// Whether this process has to end, because it will never publish again.
    #[must_use]
    pub fn has_given_up(&self) -> bool {
        self.gateway.gave_up.is_cancelled()
    }

    /// How many commands are waited for now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.gateway.waiters.len()
    }
}
