//! Game decides bets: the rules, the slot machine and its random numbers.
//!
//! One bet through this crate: `PlaceBet` → judged and spun ([`domain::bet`]) → stored with its outcome ([`document`]) →
//! `ApplyWager` to payment → `WagerApplied` → the document is settled with what was applied → `BetSettled`. That is one
//! insert and one publish, one update and one publish.
//!
//! Promises kept here: a redelivery never spins again (the outcome is stored before anybody hears of it); the same id with
//! another request has no effect; every accepted bet ends in exactly one terminal event; a repetition never feeds an overload; what is published about a bet is a
//! function of its document, so a repeated event is the same bytes under the same id.

pub mod bets;
pub mod config;
pub mod document;
pub mod domain;
pub mod error;
pub mod events;
pub mod handlers;
pub mod http;
pub mod rng;
pub mod sweeper;

use std::sync::Arc;

use chassis::internal::Internal;
use chassis::{Edges, Failure, Life, Shutdown};
use contracts::topics::Group;
use store::mongo::Mongo;

use crate::bets::Bets;
use crate::config::Config;
use crate::domain::bet::Rules;
use crate::domain::machine::Machine;
use crate::handlers::Game;
use crate::rng::RandomStops;
use crate::sweeper::Sweeper;

/// The whole program: reads the configuration and calls [`run`].
///
/// It stands here because the compiler generates the code of all that `run` calls where it is started. In `main.rs` it would do so
/// once more.
#[must_use]
pub fn main() -> std::process::ExitCode {
    let part = contracts::parts::Part::Game;
    chassis::main(chassis::Service::new(part, env!("CARGO_PKG_VERSION"), include_str!("defaults.toml")), run)
}

/// Runs the service until `shutdown` or until a part fails.
///
/// # Errors
/// [`Failure::Missing`] when the store or the broker cannot be reached at the start, else what failed.
pub async fn run(config: Config, edges: Edges, shutdown: Shutdown) -> Result<(), Failure> {
    let mut life = Life::start(edges, &config, shutdown);
    let mongo = Mongo::connect(&config.mongo).await.map_err(|e| Failure::missing("the document store", e))?;
    let bets = Bets::open(&mongo).await?;
    let producer = bus::Producer::new(&config.kafka)?;
    let rules = Rules::new(Machine::published(), config.stakes.limits());

    let routes = http::routes(bets.clone(), &rules);
    let game = Arc::new(Game::new(
        bets.clone(),
        producer.clone(),
        rules,
        RandomStops::from_os(),
        config.sweeper.first_after_ms,
    ));
    let consumer = bus::Consumer::new(&config.kafka, Group::Game, handlers::router(&game), producer.clone())?;
    let backlogs = sweeper::backlogs(&config.kafka)?;
    let sweeper = Sweeper::new(bets, producer.clone(), backlogs, config.sweeper.clone());

    let ready = life.readiness().register("kafka");
    let routes = chassis::http::internal(routes, Internal::new(config.security.internal_token.clone()));
    life.serve(chassis::http::layered(routes, &config.http, telemetry::propagation::TrustPolicy::inside()));
    life.consume("game", |token| consumer.run(token, move |is_ready| ready.set(is_ready)));
    life.background("sweeper", |token| sweeper.run(token));
    life.on_flush("producer", move |within| async move { producer.flush(within).await });
    life.run().await
}
