//! Errors of `user`, and their class for retries.

use contracts::{Classify, ErrorClass};
use store::StoreError;

use crate::domain::Refusal;
use crate::passwords::PasswordError;

/// A failure of `user`, or its refusal of a request.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The document store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An event could not be published. It stays in its outbox.
    #[error(transparent)]
    Publish(#[from] bus::PublishError),
    /// A password could not be hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The player does not exist.
    #[error("the player does not exist")]
    NoSuchPlayer,
    /// The e-mail address belongs to another player.
    #[error("the e-mail address is taken")]
    EmailTaken,
    /// The account was tried too often and has to wait.
    #[error("there were too many log-in attempts for the account; it has to wait {wait_s} s")]
    TooManyAttempts {
        /// Seconds to wait.
        wait_s: u64,
    },
    /// E-mail address and password do not match.
    #[error("the e-mail address or the password is wrong")]
    WrongCredentials,
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    OtherRequest,
    /// The rules do not allow the change.
    #[error("the change is refused: {0:?}")]
    Refused(Refusal),
    /// Not decided now: the outbox is full, or the retries ran out. The caller can repeat it with the same key.
    #[error("the change could not be decided yet; repeat it with the same key")]
    Busy,
    /// A stored document is invalid or contradicts another one. It affects only this player, until an operator repairs it.
    #[error("a stored document is invalid: {0}")]
    Corrupt(&'static str),
}

impl Classify for UserError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Store(error) => error.class(),
            Self::Publish(error) => error.class(),
            Self::Password(error) => error.class(),
            Self::Busy => ErrorClass::Transient,
            Self::NoSuchPlayer
            | Self::TooManyAttempts { .. }
            | Self::EmailTaken
            | Self::WrongCredentials
            | Self::Corrupt(_)
            | Self::OtherRequest
            | Self::Refused(_) => ErrorClass::Poison,
        }
    }
}
