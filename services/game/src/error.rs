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
    #[error("a bet's id is taken, and the bet is not there yet")]
    NotThereYet,
    /// The event lacks a field that its contract requires.
    #[error("the event has no {field}")]
    Incomplete {
        /// Name of the field.
        field: &'static str,
    },
    /// The router passed an event of the wrong type, which is a bug in Pitboss.
    #[error("the handler was given a {0}")]
    WrongType(&'static str),
    /// No event can be built from the stored bet: its id or another field is missing or invalid. Other bets are not affected.
    #[error("the stored bet is broken: {0}")]
    BrokenDocument(&'static str),
    /// A panic poisoned the lock of the random generator. The process has to restart.
    #[error("the random generator is lost")]
    GeneratorLost,
}

impl From<IdError> for GameError {
    fn from(_: IdError) -> Self {
        Self::BrokenDocument("its id is not an event id")
    }
}

impl Classify for GameError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Store(error) => error.class(),
            Self::Publish(error) => error.class(),
            Self::Lag(_) | Self::NotThereYet => ErrorClass::Transient,
            Self::Incomplete { .. } | Self::BrokenDocument(_) => ErrorClass::Poison,
            Self::WrongType(_) | Self::GeneratorLost => ErrorClass::Fatal,
        }
    }
}
