//! One file per event type; here what they share.

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

/// What the handlers share.
pub struct Game {
    bets: Bets,
    producer: Producer,
    rules: Rules,
    stops: Mutex<RandomStops>,
    sweep_after_ms: u64,
}

impl Game {
    /// A game over its store, its producer and its source of stops.
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

    /// Publishes what a bet calls for as it stands, and waits for the acknowledgement.
    async fn publish_next(&self, bet: &BetDocument) -> Result<(), GameError> {
        self.producer.publish(&events::next(bet)?).await?;
        Ok(())
    }

    /// Ends a player's bet as payment said and tells everybody; a repetition tells the same again.
    async fn end(&self, bet_id: &str, player_id: &str, ending: Ending) -> Result<Outcome, HandlerError> {
        let target = ending.state();
        match self.bets.end(bet_id, player_id, ending).await? {
            Ended::Moved(bet) => {
                self.publish_next(&bet).await?;
                Ok(Outcome::Applied)
            }
            Ended::Repeated(bet) => {
                // A settled bet that was voided later is told as settled again: the repeated event is the first one.
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
            // Payment also applies what the console asks of it: no bet of ours, nothing to settle.
            Ended::Unknown => Ok(Outcome::Duplicate),
        }
    }
}

/// Payment says of a bet what cannot be true together with what is stored. Nothing is changed; somebody has to look.
#[derive(Debug, thiserror::Error)]
#[error("payment says {answer} of a bet that is {state}")]
struct Contradiction {
    state: &'static str,
    answer: &'static str,
}

/// Somebody has used the id of a stranger's bet for a wager of their own. The bet is left as it is; somebody has to look.
#[derive(Debug, thiserror::Error)]
#[error("payment says {answer} of a bet that is another player's")]
struct OfAnotherPlayer {
    answer: &'static str,
}

/// The types that game handles.
#[must_use]
pub fn router(game: &Arc<Game>) -> Router {
    Router::new()
        .on(EventType::PlaceBet, OnPlaceBet(Arc::clone(game)))
        .on(EventType::WagerApplied, OnWagerApplied(Arc::clone(game)))
        .on(EventType::WagerRejected, OnWagerRejected(Arc::clone(game)))
        .on(EventType::WagerVoided, OnWagerVoided(Arc::clone(game)))
        .on(EventType::CommandConflict, OnCommandConflict(Arc::clone(game)))
}
