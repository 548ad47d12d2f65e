//! Errors of the ledger, distinguished by what must happen next.

use bus::PublishError;
use contracts::{Classify, ErrorClass};
use store::StoreError;

use super::{Killed, Refusal};
use crate::domain::DecideError;

/// Error that stopped a command. Nothing is lost. A retried command finds what was done, and any other is a dead letter.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Error of the document store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Error of the broker. The outcome of the publish may be unknown, which never counts as an acknowledgement.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The command cannot be decided.
    #[error("the command cannot be decided: {0}")]
    Undecidable(#[from] DecideError),
    /// The command holds something that the ledger does not support.
    #[error("invalid command: {0}")]
    InvalidCommand(String),
    /// The report is about a payment that was never requested.
    #[error("the reported payment was never requested")]
    NoSuchPayment,
    /// The report may not settle its payment, because money may move differently from what the ledger would record.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Every attempt met a concurrent change.
    #[error("gave up after {attempts} conflicting updates of the account")]
    Contended {
        /// Number of failed attempts.
        attempts: u32,
    },
    /// Ledger and account contradict each other. Nothing of the account is published until an operator acts, and its commands
    /// become dead letters. A shutdown would stop all other players too, and the next process would find the same.
    #[error("account and ledger contradict each other at row {row}: {what}")]
    Diverged {
        /// Id of the ledger row.
        row: String,
        /// Description of the contradiction.
        what: &'static str,
    },
    /// A stored decision cannot be read. A newer build wrote it, or it is damaged. Only its own player is affected.
    #[error("a stored decision cannot be read: {0}")]
    Unreadable(String),
    /// A test killed the process at this step.
    #[error(transparent)]
    Killed(#[from] Killed),
}

impl Classify for LedgerError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Store(error) => error.class(),
            Self::Publish(error) => error.class(),
            Self::Undecidable(_)
            | Self::InvalidCommand(_)
            | Self::NoSuchPayment
            | Self::Refused(_)
            | Self::Diverged { .. }
            | Self::Unreadable(_) => ErrorClass::Poison,
            Self::Contended { .. } | Self::Killed(_) => ErrorClass::Transient,
        }
    }
}
