//! Errors of notification's handlers, classified by the reaction that each needs. The result of sending an e-mail is not an error
//! ([`crate::domain::delivery`]).

use contracts::class::{Classify, ErrorClass};
use store::StoreError;

/// Error of notification.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotificationError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The event lacks a field that its contract requires, or the field is invalid.
    #[error("the event has no usable {field}")]
    Incomplete {
        /// Name of the field.
        field: &'static str,
    },
    /// The router passed an event of the wrong type, which is a bug in Pitboss.
    #[error("the handler was given a {0}")]
    WrongType(&'static str),
}

impl Classify for NotificationError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Store(error) => error.class(),
            Self::Incomplete { .. } => ErrorClass::Poison,
            Self::WrongType(_) => ErrorClass::Fatal,
        }
    }
}
