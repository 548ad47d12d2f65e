//! The two records of a bet, as JSON.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ChainError;

/// A bet that is not settled yet. The key of its record is the player.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Bet {
    /// Its id.
    pub bet_id: Uuid,
    /// The player, as the request named it.
    pub player_id: String,
    /// Name of the game.
    pub game: String,
    /// Stake in minor units.
    pub stake_minor: i64,
    /// Currency of the stake.
    pub currency: String,
}

/// Outcome of a bet, which is also the answer to its request. It has the fields of the gateway's answer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Outcome {
    /// Id of the bet.
    pub bet_id: Uuid,
    /// Always `lost`, because there are no rules.
    pub outcome: String,
    /// Always three equal symbols, for an answer as long as the gateway's.
    pub reels: Vec<String>,
    /// Always 0.
    pub payout_minor: i64,
    /// Always 0, because there are no accounts.
    pub balance_minor: i64,
}

impl Bet {
    /// The record's value.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, ChainError> {
        Ok(serde_json::to_vec(self)?)
    }

    /// Reads a record's value.
    pub(crate) fn decode(value: &[u8]) -> Result<Self, ChainError> {
        Ok(serde_json::from_slice(value)?)
    }
}

impl Outcome {
    /// The outcome of every bet.
    pub(crate) fn of(bet: &Bet) -> Self {
        Self {
            bet_id: bet.bet_id,
            outcome: "lost".to_owned(),
            reels: vec!["cherry".to_owned(); 3],
            payout_minor: 0,
            balance_minor: 0,
        }
    }

    /// The record's value.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, ChainError> {
        Ok(serde_json::to_vec(self)?)
    }

    /// Reads a record's value.
    pub(crate) fn decode(value: &[u8]) -> Result<Self, ChainError> {
        Ok(serde_json::from_slice(value)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written() {
        let bet = Bet {
            bet_id: Uuid::from_u128(7),
            player_id: "p".to_owned(),
            game: "slots".to_owned(),
            stake_minor: 100,
            currency: "EUR".to_owned(),
        };
        assert_eq!(Bet::decode(&bet.encode().unwrap()).unwrap(), bet);
        let outcome = Outcome::of(&bet);
        assert_eq!(outcome.bet_id, bet.bet_id);
        assert_eq!(Outcome::decode(&outcome.encode().unwrap()).unwrap(), outcome);
        assert!(matches!(Bet::decode(b"{}"), Err(ChainError::Record(_))));
    }
}
