//! The HTTP edge of the platform.
//!
//! It never changes a balance. A write becomes a Kafka command, and its outcome event the answer. One bet through this crate:
//!
//! 1. [`routes`] — `POST /api/v1/bets`: authenticates (`auth`), limits the rate (`rate_limits`) and parses the body (`domain`).
//! 2. `idempotent_write` — derives the command's id from the key. It repeats a known reply or joins the `waiters` of the command.
//!    In overload `admission` refuses a new bet.
//! 3. `publisher` — publishes the command and waits for the acknowledgement.
//! 4. `handlers` — answers the waiters with the outcome event. If none arrives in time, `outcome_lookup` reads it from the owning
//!    service. An undecided bet is answered with 202.
//!
//! It guarantees four things. The same key gives the same command, and the same bytes as long as its reply is cached. A 202 follows
//! the broker's acknowledgement. A player never sees another player's data. Everything that clients can fill is bounded.

mod admission;
mod app;
mod auth;
mod clock_skew;
mod config;
mod domain;
mod fault_file;
mod fault_list;
mod fault_request;
mod handlers;
mod idempotent_write;
mod outcome_lookup;
mod peers;
mod player_limits;
mod publisher;
mod rate_limits;
mod replies;
mod request_faults;
mod routes;
mod sessions;
mod waiters;

use std::sync::Arc;

use bus::{Producer, Tail};
use chassis::config::{Http, Secret};
use chassis::debug::Debug;
use chassis::internal::Internal;
use chassis::{Failure, Lifecycle, Listeners, Shutdown};
use contracts::{Message, Part};
use faults::Faults;
use telemetry::propagation::TrustPolicy;
use tokio_util::sync::CancellationToken;

pub use config::{Bets, Config, Limits, Peers, Security, Sessions};
pub use publisher::Publisher;
pub use routes::docs::Description;

/// Entry point of the program: reads the configuration and calls [`run`].
///
/// It is in the library, so that the compiler does not generate the code behind `run` a second time for `main.rs`.
#[must_use]
pub fn main() -> std::process::ExitCode {
    chassis::main(
        chassis::Service::new(Part::Gateway, env!("CARGO_PKG_VERSION"), include_str!("defaults.toml")),
        run,
    )
}

/// Runs the gateway until shutdown.
///
/// # Errors
/// The failure that stopped it.
pub async fn run(config: Config, listeners: Listeners, shutdown: Shutdown) -> Result<(), Failure> {
    let fault_secret = listeners.common.faults.secret.clone();
    let mut lifecycle = Lifecycle::start(listeners, shutdown);
    lifecycle.accept_profile_requests(Internal::new(config.security.internal_token.clone()));
    let producer = Producer::new(&config.kafka)?;
    let debug = lifecycle.debug(Part::Gateway);
    let gateway =
        app::App::new(&config, Arc::new(producer.clone()), lifecycle.faults(), fault_secret, debug)?;
    let tail = Tail::new(&config.kafka, &handlers::TOPICS, handlers::router(&gateway), producer.clone())?;
    lifecycle.serve(router(&gateway, &config, lifecycle.http()));
    let stop_deadline = config.kafka.stop_deadline();
    lifecycle.consume("outcomes", stop_deadline, |stop, ready| tail.run(stop, move |is| ready.set(is)));
    let reported = gateway.clone();
    lifecycle.background("admission", |stop| async move { reported.admission.report(stop).await });
    let publisher_failed = gateway.publisher_failed.clone();
    lifecycle.background("producer", |stop| stop_when_publisher_fails(publisher_failed, stop));
    lifecycle.on_flush("producer", move |within| async move { producer.flush(within).await });
    lifecycle.run().await
}

/// Stops the process when the producer has failed permanently, so that a new process replaces it.
///
/// In the other services the handlers fail together with their producer. Here no other part would fail.
async fn stop_when_publisher_fails(
    publisher_failed: CancellationToken,
    stop: CancellationToken,
) -> Result<(), &'static str> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Ok(()),
        () = publisher_failed.cancelled() => Err("the Kafka producer has failed permanently: restart the process"),
    }
}

fn router(gateway: &app::App, config: &Config, http: &Http) -> axum::Router {
    let (operator, request_faults) = (gateway.operator.clone(), gateway.request_faults.clone());
    let trust = TrustPolicy::outside(config.security.public_keys().map(str::to_owned))
        .with_operator(move |headers| operator.is(headers))
        .with_own_entry(faults::request::BAGGAGE_KEY, move |headers| request_faults.entry(headers));
    routes::limited(chassis::http::layered(routes::router(gateway), http, trust), gateway)
}

/// The gateway without Kafka, for tests: its routes over any [`Publisher`], with events from [`Standalone::receive`].
#[derive(Clone, Debug)]
pub struct Standalone {
    gateway: app::App,
}

impl Standalone {
    /// A gateway that publishes through `publisher`. `fault_secret` signs the faults of one request, and
    /// `debug` has the errors that an operator causes.
    ///
    /// # Errors
    /// When a client for Redis or for the internal services cannot be built from the configuration.
    pub fn new(
        config: &Config,
        publisher: Arc<dyn Publisher>,
        faults: Faults,
        fault_secret: Secret,
        debug: Debug,
    ) -> Result<Self, Failure> {
        Ok(Self { gateway: app::App::new(config, publisher, faults, fault_secret, debug)? })
    }

    /// The routes with all their layers.
    pub fn router(&self, config: &Config, http: &Http) -> axum::Router {
        router(&self.gateway, config, http)
    }

    /// The served paths, for the test that compares its route list with them.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        chassis::http::paths(&routes::router(&self.gateway))
    }

    /// Handles `message` like an event from Kafka. Returns `false` when no request waits for it.
    #[must_use]
    pub fn receive(&self, message: &Message) -> bool {
        handlers::complete(&self.gateway, message)
    }

    /// Returns `true` if this process can never publish again and has to restart.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.gateway.publisher_failed.is_cancelled()
    }

    /// Number of commands with waiting requests.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.gateway.waiters.len()
    }
}
