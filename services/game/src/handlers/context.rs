//! State shared by the handlers, and the common end of a bet.

use std::sync::Mutex;

use bus::{HandlerError, Outcome, Producer};
use faults::Faults;

use crate::bets::{Bets, EndResult, Ending};
use crate::document::BetDocument;
use crate::domain::bet::{BetRequest, Decision, Rules};
use crate::domain::lifecycle::State;
use crate::error::GameError;
use crate::events;
use crate::publisher;
use crate::rng::RandomStops;

/// State shared by the handlers.
pub struct Game {
    pub(super) bets: Bets,
    pub(super) producer: Producer,
    pub(super) rules: Rules,
    stops: Mutex<RandomStops>,
    pub(super) sweep_after_ms: u64,
    pub(super) faults: Faults,
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
        faults: Faults,
    ) -> Self {
        Self { bets, producer, rules, stops: Mutex::new(stops), sweep_after_ms, faults }
    }

    pub(super) fn decide(&self, request: BetRequest<'_>) -> Result<Decision, GameError> {
        // Held for three draws and never across an await.
        let mut stops = self.stops.lock().map_err(|_| GameError::GeneratorPoisoned)?;
        Ok(self.rules.decide(request, &mut *stops))
    }

    /// Publishes the events that the bet's state calls for and waits for the acknowledgements.
    pub(super) async fn publish_next(&self, bet: &BetDocument) -> Result<(), GameError> {
        self.publish_of(bet, bet.state).await
    }

    async fn publish_of(&self, bet: &BetDocument, state: State) -> Result<(), GameError> {
        publisher::publish_all(&self.producer, &events::of_state(bet, state)?).await
    }

    /// Ends a player's bet with payment's answer and publishes the events. A repeated answer publishes them again unchanged.
    pub(super) async fn end(
        &self,
        bet_id: &str,
        player_id: &str,
        ending: Ending,
    ) -> Result<Outcome, HandlerError> {
        let target = ending.state();
        match self.bets.end(bet_id, player_id, ending).await? {
            EndResult::Moved(bet) => {
                self.publish_next(&bet).await?;
                Ok(Outcome::Applied)
            }
            EndResult::Repeated(bet) => {
                // A repeated `Settled` answer publishes its events again, also if the bet was voided later.
                self.publish_of(&bet, target).await?;
                Ok(Outcome::Duplicate)
            }
            EndResult::Unaffected => Ok(Outcome::Duplicate),
            EndResult::Contradicted(bet) => {
                let contradiction = Contradiction { state: bet.state.as_str(), answer: target.as_str() };
                telemetry::report(&contradiction, &[("bet.id", &bet.id)]);
                Ok(Outcome::Rejected)
            }
            EndResult::OtherPlayer(bet) => {
                let other_player = OtherPlayer { answer: target.as_str() };
                telemetry::report(&other_player, &[("bet.id", &bet.id), ("player.id", player_id)]);
                Ok(Outcome::Rejected)
            }
            // Payment also applies wagers that came from a console producer. Game has no bet for them.
            EndResult::Unknown => Ok(Outcome::Duplicate),
        }
    }
}

/// Payment's answer contradicts the stored bet. The bet is not changed, and an operator has to investigate.
#[derive(Debug, thiserror::Error)]
#[error("payment answered {answer} for a bet that is {state}; an operator has to compare it with the ledger")]
struct Contradiction {
    state: &'static str,
    answer: &'static str,
}

/// A player's wager used the id of another player's bet. The bet is not changed, and an operator has to investigate.
#[derive(Debug, thiserror::Error)]
#[error("payment answered {answer} for a bet of another player; an operator has to find its sender")]
struct OtherPlayer {
    answer: &'static str,
}
