//! What can go wrong in analytics, by what has to happen next.

use contracts::class::{Classify, ErrorClass};
use store::StoreError;

/// An error of analytics.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnalyticsError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The event lacks what its contract says it has.
    #[error("the event has no {field}")]
    Incomplete {
        /// Which field.
        field: &'static str,
    },
}

impl Classify for AnalyticsError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Store(error) => error.class(),
            Self::Incomplete { .. } => ErrorClass::Poison,
        }
    }
}
