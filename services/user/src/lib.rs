//! User knows the players: who they are, whether their session stands, what they allow themselves, and their history.
//!
//! In the life of one bet it comes in twice. Before: the gateway asks whether the session stands ([`sessions`], answered
//! by the cache, with the document store as the truth). After: `BetSettled` becomes an entry of the player's [`history`].
//!
//! Promises kept here: a registration or change and the event that tells of it are one write ([`players`]); the same
//! idempotency key is the same answer, or 422; a lost cache costs time and nothing else; a page of the history costs the
//! same at its end as at its beginning; a password is hashed with bounded memory and never leaves ([`passwords`]); one account
//! is guessed at a bounded number of times ([`attempts`]).

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
use chassis::{Edges, Failure, Life, Shutdown};
use contracts::Group;
use store::mongo::Mongo;
use store::redis::Cache;
use telemetry::propagation::TrustPolicy;

use crate::attempts::Attempts;
use crate::config::Config;
use crate::history::History;
use crate::passwords::Passwords;
use crate::players::{Players, Sweeper};
use crate::sessions::Sessions;

/// The paths of the internal interface, for the test that no route is forgotten in.
#[must_use]
pub fn paths() -> Vec<String> {
    chassis::http::paths(&http::table())
}

/// The whole program: reads the configuration and calls [`run`].
///
/// It stands here because the compiler generates the code of all that `run` calls where it is started. In `main.rs` it would do so
/// once more.
#[must_use]
pub fn main() -> std::process::ExitCode {
    let part = contracts::parts::Part::User;
    chassis::main(chassis::Service::new(part, env!("CARGO_PKG_VERSION"), include_str!("defaults.toml")), run)
}

/// Runs the service until `shutdown` or until a part fails.
///
/// # Errors
/// [`Failure::Missing`] when the document store cannot be reached at the start, else what failed.
pub async fn run(config: Config, edges: Edges, shutdown: Shutdown) -> Result<(), Failure> {
    let mut life = Life::start(edges, &config, shutdown);
    let mongo =
        Mongo::connect(&config.mongo).await.map_err(|error| Failure::missing("the document store", error))?;
    let cache = Cache::new(&config.redis)?;
    let producer = bus::Producer::new(&config.kafka)?;
    let passwords = Passwords::new(config.passwords)
        .map_err(|error| Failure::missing("threads for hashing passwords", error))?;
    let attempts = Attempts::new(cache.clone(), config.attempts);
    let players = Players::open(&mongo, producer.clone(), passwords, attempts).await?;
    let sessions = Sessions::open(&mongo, players.clone(), cache, config.sessions).await?;
    let history = History::open(&mongo).await?;

    let consumer =
        bus::Consumer::new(&config.kafka, Group::User, handlers::router(&history), producer.clone())?;
    let sweeper = Sweeper::new(players.clone(), config.sweeper);
    let internal = Internal::new(config.security.internal_token.clone());
    let routes = http::routes(http::Api { players, sessions, history }, internal);

    let ready = life.readiness().register("kafka");
    life.serve(chassis::http::layered(routes, &config.http, TrustPolicy::inside()));
    life.consume("user", |token| consumer.run(token, move |is_ready| ready.set(is_ready)));
    life.background("sweeper", |token| sweeper.run(token));
    life.on_flush("producer", move |within| async move { producer.flush(within).await });
    life.run().await
}
