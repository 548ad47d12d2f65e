//! Why a command could not be carried through, by what has to happen next.

use bus::PublishError;
use contracts::{Classify, ErrorClass};
use store::StoreError;

use super::{Killed, Refusal};
use crate::domain::DecideError;

/// Carrying a command through failed. Nothing is lost: the record comes again and finds what was done.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The document store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The broker; the outcome of the publish may be unknown, which is never taken for an acknowledgement.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The command cannot be decided.
    #[error("cannot be decided: {0}")]
    Undecidable(#[from] DecideError),
    /// The command holds something that the ledger has no word for.
    #[error("not a command for the ledger: {0}")]
    NotACommand(String),
    /// A report about a payment that was never asked for.
    #[error("no such payment waits for the provider")]
    NoSuchPayment,
    /// A report that may not settle its payment: money may move otherwise than the ledger says.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Others were faster every time.
    #[error("the account changed under {attempts} attempts")]
    Contended {
        /// How many compare-and-sets lost.
        attempts: u32,
    },
    /// Another player's row holds a key of this decision. The decision was taken back, so the command is read again.
    #[error("another player's decision {row} was first under the same key")]
    Taken {
        /// The other row's id.
        row: String,
    },
    /// Ledger and account contradict each other: of this account nothing is told before somebody has looked. Its commands are
    /// parked; ending the process would stop everybody else's too, and the next one would find the same.
    #[error("the ledger has diverged at {row}: {what}")]
    Diverged {
        /// The ledger row's id.
        row: String,
        /// What contradicts what.
        what: &'static str,
    },
    /// A stored decision cannot be read back: a newer build wrote it, or it is damaged. It harms its own player alone.
    #[error("a stored decision cannot be read: {0}")]
    Unreadable(String),
    /// A test killed the process here.
    #[error(transparent)]
    Killed(#[from] Killed),
}

impl Classify for LedgerError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Store(error) => error.class(),
            Self::Publish(error) => error.class(),
            Self::Undecidable(_)
            | Self::NotACommand(_)
            | Self::NoSuchPayment
            | Self::Refused(_)
            | Self::Diverged { .. }
            | Self::Unreadable(_) => ErrorClass::Poison,
            Self::Contended { .. } | Self::Taken { .. } | Self::Killed(_) => ErrorClass::Transient,
        }
    }
}
