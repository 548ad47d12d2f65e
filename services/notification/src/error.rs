//! What can go wrong in notification, by what has to happen next.

use contracts::class::{Classify, ErrorClass};
use store::StoreError;

use crate::mailer::MailError;

/// An error of notification.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotificationError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The mail was not sent.
    #[error(transparent)]
    Mail(#[from] MailError),
    /// The event lacks what its contract says it has, or holds what it may not.
    #[error("the event has no usable {field}")]
    Incomplete {
        /// Which field.
        field: &'static str,
    },
    /// The router sent a type here that the handler is not for: a mistake of ours.
    #[error("the handler was given a {0}")]
    WrongType(&'static str),
    /// Another process has claimed this notification a moment ago.
    #[error("another process may be sending this notification")]
    Busy,
}

impl Classify for NotificationError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Store(error) => error.class(),
            Self::Mail(MailError::NotTaken { .. }) | Self::Busy => ErrorClass::Transient,
            Self::Mail(MailError::Unwritable(_) | MailError::Refused { .. }) | Self::Incomplete { .. } => {
                ErrorClass::Poison
            }
            Self::Mail(MailError::Config(_)) | Self::WrongType(_) => ErrorClass::Fatal,
        }
    }
}
