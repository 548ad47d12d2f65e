//! Event handlers, one file per event type. This file has the shared parts.

mod command_conflict;
mod place_bet;
mod wager_applied;
mod wager_rejected;
mod wager_voided;

use std::sync::{Arc, Mutex};

use bus::{HandlerError, Outcome, Producer, Router};
use contracts::EventType;

use crate::bets::{Bets, Ended, Ending};
use crate::document::BetDocument;
use crate::domain::bet::{Ask, Decision, Rules};
use crate::domain::life::State;
use crate::error::GameError;
use crate::events;
use crate::rng::RandomStops;

pub use command_conflict::OnCommandConflict;
pub use place_bet::OnPlaceBet;
pub use wager_applied::OnWagerApplied;
pub use wager_rejected::OnWagerRejected;
pub use wager_voided::OnWagerVoided;

/// State shared by the handlers.
pub struct Game {
    bets: Bets,
    producer: Producer,
    rules: Rules,
    stops: Mutex<RandomStops>,
    sweep_after_ms: u64,
}

impl Game {
    /// Creates the shared state.
    #[must_use]
    pub fn new(
        bets: Bets,
        producer: Producer,
        rules: Rules,
        stops: RandomStops,
        sweep_after_ms: u64,
    ) -> Self {
        Self { bets, producer, rules, stops: Mutex::new(stops), sweep_after_ms }
    }

    fn decide(&self, ask: Ask<'_>) -> Result<Decision, GameError> {
        // Held for three draws and never across an await.
        let mut stops = self.stops.lock().map_err(|_| GameError::GeneratorLost)?;
        Ok(self.rules.decide(ask, &mut *stops))
    }

    /// Publishes the event that the bet's state calls for and waits for the acknowledgement.
    async fn publish_next(&self, bet: &BetDocument) -> Result<(), GameError> {
        self.producer.publish(&events::next(bet)?).await?;
        Ok(())
    }

    /// Ends a player's bet with payment's answer and publishes the event. A repeated answer publishes it again unchanged.
    async fn end(&self, bet_id: &str, player_id: &str, ending: Ending) -> Result<Outcome, HandlerError> {
        let target = ending.state();
        match self.bets.end(bet_id, player_id, ending).await? {
            Ended::Moved(bet) => {
                self.publish_next(&bet).await?;
                Ok(Outcome::Applied)
            }
            Ended::Repeated(bet) => {
                // A repeated `Settled` answer publishes the first event again, also if the bet was voided later.
                let event =
                    if target == State::Settled { events::settled(&bet)? } else { events::next(&bet)? };
                self.producer.publish(&event).await.map_err(GameError::from)?;
                Ok(Outcome::Duplicate)
            }
            Ended::Unaffected => Ok(Outcome::Duplicate),
            Ended::Contradicted(bet) => {
                let contradiction = Contradiction { state: bet.state.as_str(), answer: target.as_str() };
                telemetry::report(&contradiction, &[("bet.id", &bet.id)]);
                Ok(Outcome::Rejected)
            }
            Ended::OfAnotherPlayer(bet) => {
                let elsewhere = OfAnotherPlayer { answer: target.as_str() };
                telemetry::report(&elsewhere, &[("bet.id", &bet.id), ("player.id", player_id)]);
                Ok(Outcome::Rejected)
            }
            // Payment also applies wagers that came from a console producer. Game has no bet for them.
            Ended::Unknown => Ok(Outcome::Duplicate),
        }
    }
}

/// Payment's answer contradicts the stored bet. The bet is not changed, and an operator has to investigate.
#[derive(Debug, thiserror::Error)]
#[error("payment says {answer} of a bet that is {state}")]
struct Contradiction {
    state: &'static str,
    answer: &'static str,
}

/// A player's wager used the id of another player's bet. The bet is not changed, and an operator has to investigate.
#[derive(Debug, thiserror::Error)]
#[error("payment says {answer} of a bet that is another player's")]
struct OfAnotherPlayer {
    answer: &'static str,
}

/// Returns the router with the event types that game handles.
#[must_use]
pub fn router(game: &Arc<Game>) -> Router {
    Router::new()
        .on(EventType::PlaceBet, OnPlaceBet(Arc::clone(game)))
        .on(EventType::WagerApplied, OnWagerApplied(Arc::clone(game)))
        .on(EventType::WagerRejected, OnWagerRejected(Arc::clone(game)))
        .on(EventType::WagerVoided, OnWagerVoided(Arc::clone(game)))
        .on(EventType::CommandConflict, OnCommandConflict(Arc::clone(game)))
}
