//! Errors of analytics, classified by the reaction that each needs.

use contracts::class::{Classify, ErrorClass};
use store::StoreError;

/// Error of analytics.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnalyticsError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The event lacks a field that its contract requires.
    #[error("the event has no {field}")]
    Incomplete {
        /// Name of the field.
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
