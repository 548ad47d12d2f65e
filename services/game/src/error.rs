//! Errors of game, classified by the reaction that each needs.

use bus::PublishError;
use contracts::class::{Classify, ErrorClass};
use contracts::ids::IdError;
use store::StoreError;

/// Error of game. A business refusal is not an error.
#[derive(Debug, thiserror::Error)]
pub enum GameError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A publish failed, or its outcome is unknown.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The broker did not report how far payment and game have read.
    #[error(transparent)]
    Lag(#[from] bus::ClientError),
    /// The id of a bet exists but the bet was not found. Bets are never deleted, so a retry will find it.
    #[error("the id of a bet exists, but the bet was not found; a retry finds it")]
    NotVisible,
    /// No event can be built from the stored bet: its id or another field is missing or invalid. Other bets are not affected.
    #[error("the stored bet is invalid: {0}")]
    InvalidDocument(&'static str),
    /// A panic poisoned the lock of the random generator. The process has to restart.
    #[error("a panic poisoned the random generator; the process has to restart")]
    GeneratorPoisoned,
}

impl From<IdError> for GameError {
    fn from(_: IdError) -> Self {
        Self::InvalidDocument("its id is not an event id")
    }
}

impl Classify for GameError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Store(error) => error.class(),
            Self::Publish(error) => error.class(),
            Self::Lag(_) | Self::NotVisible => ErrorClass::Transient,
            Self::InvalidDocument(_) => ErrorClass::Poison,
            Self::GeneratorPoisoned => ErrorClass::Fatal,
        }
    }
}
