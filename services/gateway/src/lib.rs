//! The HTTP edge of the platform.
//!
//! It never changes a balance. A write becomes a Kafka command, and its outcome event the answer. One bet through this crate:
//!
//! 1. [`routes`] — `POST /api/v1/bets`: authenticates (`auth`), limits the rate (`limits`) and parses the body (`domain`).
//! 2. `writes` — derives the command's id from the key. It repeats a known reply or takes a seat among the `waiters`.
//! 3. `commands` — publishes the command and waits for the acknowledgement.
//! 4. `handlers` — completes the seat with the outcome event. If none arrives in time, `writes` asks the owner or answers 202.
//!
//! It guarantees four things. The same key gives the same command and the same bytes. A 202 follows the broker's acknowledgement.
//! A player never sees another player's data. Everything that clients can fill is bounded.

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

/// Reads the configuration and calls [`run`].
///
/// It is in the library because the compiler generates the code of everything that `run` calls in the crate that starts it. In
/// `main.rs` that code would be generated a second time.
#[must_use]
pub fn main() -> std::process::ExitCode {
    let part = contracts::parts::Part::Gateway;
    chassis::main(chassis::Service::new(part, env!("CARGO_PKG_VERSION"), include_str!("defaults.toml")), run)
}

/// Runs the gateway until shutdown.
///
/// # Errors
/// The failure that ended it early.
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

/// Ends the process when the producer is permanently dead, so that a new process replaces it. In the other services the handlers
/// fail together with their producer. Here nothing else would.
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

/// The gateway without Kafka, for tests: its routes over any [`Commands`], with events from [`Standalone::hear`].
#[derive(Clone, Debug)]
pub struct Standalone {
    gateway: state::Gateway,
}

impl Standalone {
    /// A gateway that publishes through `commands`.
    ///
    /// # Errors
    /// When a client for Redis or for the services behind cannot be built from the configuration.
    pub fn new(config: &Config, commands: Arc<dyn Commands>) -> Result<Self, Failure> {
        Ok(Self { gateway: state::Gateway::new(config, commands)? })
    }

    /// The routes with all their layers.
    pub fn router(&self, config: &Config) -> axum::Router {
        router(&self.gateway, config)
    }

    /// The served paths, for the test that compares its route list with them.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        chassis::http::paths(&routes::router(&self.gateway))
    }

    /// Handles `message` like an event from Kafka. Returns `false` when no request waits for it.
    #[must_use]
    pub fn hear(&self, message: &Message) -> bool {
        handlers::tell(&self.gateway, message)
    }

    /// True when this process has to end, because it can never publish again.
    #[must_use]
    pub fn has_given_up(&self) -> bool {
        self.gateway.gave_up.is_cancelled()
    }

    /// Number of commands with waiting requests.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.gateway.waiters.len()
    }
}
