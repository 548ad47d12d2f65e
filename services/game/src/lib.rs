//! Service that decides bets: rules, slot machine and random numbers.
//!
//! One bet through this crate: `PlaceBet` → judged and spun ([`domain::bet`]) → stored with its outcome ([`document`]) →
//! `ApplyWager` to payment → `WagerApplied` → the document is settled with the applied amounts → `BetSettled`. That is one insert
//! and one publish, one update and one publish.
//!
//! It guarantees that a redelivery never spins again, because the outcome is stored before it is published. The same id with
//! another request has no effect. Every accepted bet ends in exactly one terminal event. Repetitions never add to an overload.
//! Every event about a bet is a function of its document, so a repeated event has the same bytes and the same id.

pub mod bets;
pub mod config;
pub mod document;
pub mod domain;
pub mod error;
pub mod events;
pub mod handlers;
pub mod http;
mod primes;
mod publisher;
pub mod rng;
pub mod sweeper;

use std::sync::Arc;

use chassis::internal::Internal;
use chassis::{Failure, Lifecycle, Listeners, Shutdown};
use contracts::{Part, topics::Group};
use store::mongo::Mongo;

use crate::bets::Bets;
use crate::config::Config;
use crate::domain::bet::Rules;
use crate::domain::slot_machine::SlotMachine;
use crate::handlers::Game;
use crate::rng::RandomStops;
use crate::sweeper::Sweeper;

/// Entry point of the program: reads the configuration and calls [`run`].
///
/// It is in the library, so that the compiler does not generate the code behind `run` a second time for `main.rs`.
#[must_use]
pub fn main() -> std::process::ExitCode {
    chassis::main(
        chassis::Service::new(Part::Game, env!("CARGO_PKG_VERSION"), include_str!("defaults.toml")),
        run,
    )
}

/// Runs the service until `shutdown` is triggered or a part fails.
///
/// # Errors
/// [`Failure::Missing`] when the document store cannot be reached at start-up, otherwise the error of the part that failed.
pub async fn run(config: Config, listeners: Listeners, shutdown: Shutdown) -> Result<(), Failure> {
    let mut lifecycle = Lifecycle::start(listeners, shutdown);
    let open = || async { Bets::open(&Mongo::connect(&config.mongo).await?).await };
    let Some(bets) = lifecycle.start_phase("document store", open).await? else {
        return lifecycle.run().await;
    };
    let producer = bus::Producer::new(&config.kafka)?;
    let rules = Rules::new(SlotMachine::published(), config.stakes.limits());

    let debug = lifecycle.debug(Part::Game);
    let routes = http::routes(bets.clone(), &rules).merge(debug.routes());
    let game = Arc::new(Game::new(
        bets.clone(),
        producer.clone(),
        rules,
        RandomStops::from_os(),
        config.sweeper.first_after_ms,
        lifecycle.faults(),
    ));
    let consumer = bus::Consumer::new(&config.kafka, Group::Game, handlers::router(&game), producer.clone())?;
    let consumer = consumer.with_hook(chassis::faults::record_hook(&lifecycle.faults()));
    let backlogs = sweeper::backlogs(&config.kafka)?;
    let sweeper = Sweeper::new(bets, producer.clone(), backlogs, config.sweeper.clone());

    lifecycle.serve_internal(routes, Internal::new(config.security.internal_token));
    let stop_deadline = config.kafka.stop_deadline();
    lifecycle
        .consume_as(Group::Game, stop_deadline, |stop, ready| consumer.run(stop, move |is| ready.set(is)));
    lifecycle.background("sweeper", |token| sweeper.run(token));
    lifecycle.on_flush("producer", move |within| async move { producer.flush(within).await });
    lifecycle.run().await
}
