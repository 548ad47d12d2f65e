//! What can go wrong in game, by what has to happen next.

use bus::PublishError;
use contracts::class::{Classify, ErrorClass};
use contracts::ids::IdError;
use store::StoreError;

/// An error of game. A business "no" is none of these.
#[derive(Debug, thiserror::Error)]
pub enum GameError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A publish failed, or its outcome is unknown.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Nobody can say now whether payment has read what it was asked.
    #[error(transparent)]
    Lag(#[from] bus::ClientError),
    /// A bet's id is taken and the bet cannot be found: bets are never deleted, so the store will show it.
    #[error("a bet's id is taken, and the bet is not there yet")]
    NotThereYet,
    /// The event lacks what its contract says it has.
    #[error("the event has no {field}")]
    Incomplete {
        /// Which field.
        field: &'static str,
    },
    /// The router sent a type here that the handler is not for: a mistake of ours.
    #[error("the handler was given a {0}")]
    WrongType(&'static str),
    /// A stored bet cannot be told about: its id is none, or its reason has no name. It harms its own player only.
    #[error("the stored bet is broken: {0}")]
    BrokenDocument(&'static str),
    /// The random generator's lock was poisoned by a panic: the process starts anew.
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
