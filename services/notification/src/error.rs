//! What can go wrong in notification's handlers, by what has to happen next. How a mail ended is no error
//! ([`crate::domain::delivery`]).

use contracts::class::{Classify, ErrorClass};
use store::StoreError;

/// An error of notification.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotificationError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The event lacks what its contract says it has, or holds what it may not.
    #[error("the event has no usable {field}")]
    Incomplete {
        /// Which field.
        field: &'static str,
    },
    /// The router sent a type here that the handler is not for: a mistake of ours.
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
