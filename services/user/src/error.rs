//! What can go wrong in here, and what has to happen next.

use contracts::{Classify, ErrorClass};
use store::StoreError;

use crate::domain::Refusal;
use crate::passwords::PasswordError;

/// A failure of `user`, or its "no".
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The document store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An event could not be published; it stays in its outbox.
    #[error(transparent)]
    Publish(#[from] bus::PublishError),
    /// A password could not be hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// There is no such player.
    #[error("there is no such player")]
    NoSuchPlayer,
    /// The e-mail address belongs to another player.
    #[error("the e-mail address is taken")]
    EmailTaken,
    /// The account was tried too often, and waits.
    #[error("too many attempts at one account")]
    TooManyAttempts {
        /// For how long, in seconds.
        wait_s: u64,
    },
    /// E-mail address and password do not belong together.
    #[error("the e-mail address or the password is wrong")]
    WrongCredentials,
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    OtherRequest,
    /// The rules do not allow the change.
    #[error("the change is refused: {0:?}")]
    Refused(Refusal),
    /// Too much is waiting for this player.
    #[error("too many changes of this player wait to be published")]
    Busy,
    /// A stored document contradicts itself or another one: its player's affairs rest until somebody has looked, and nobody else's.
    #[error("a stored document is wrong: {0}")]
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
