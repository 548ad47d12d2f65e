//! Named points between the steps of the protocol where a test kills the process, and safeguards that a test removes to prove
//! that its audit notices.

/// Step that was just completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// The account was read.
    AccountRead,
    /// The account that this process wrote last was taken instead.
    AccountKept,
    /// The ledger was searched for the command.
    LedgerRead,
    /// A report was admitted, so no process sends the provider a first request any more.
    ReportAdmitted,
    /// The compare-and-set succeeded.
    DecisionWritten,
    /// The ledger row exists.
    RowWritten,
    /// The settled payment is off the provider's list, and nothing is published yet.
    IntentEnded,
    /// The event was acknowledged, and the process has not recorded that yet.
    EventPublished,
    /// The conflict event was acknowledged.
    ConflictPublished,
    /// Entries were removed from the tail.
    Trimmed,
}

impl Step {
    /// All steps.
    pub const ALL: &'static [Self] = &[
        Self::AccountRead,
        Self::AccountKept,
        Self::LedgerRead,
        Self::ReportAdmitted,
        Self::DecisionWritten,
        Self::RowWritten,
        Self::IntentEnded,
        Self::EventPublished,
        Self::ConflictPublished,
        Self::Trimmed,
    ];
}

/// Safeguard of the protocol. `models/ledger_model.py` shows what happens without each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Safeguard {
    /// The ledger is read when the tail does not hold the command.
    LedgerRead,
    /// A rejection is recorded like any other decision.
    RejectionRecorded,
    /// Only acknowledged entries are trimmed.
    AckBeforeTrim,
    /// The compare-and-set compares the version.
    VersionCompared,
    /// Lower entries are relayed first.
    LowerFirst,
}

/// The process dies after this step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("killed after {0:?}")]
pub struct Killed(pub Step);

/// Observer of the steps. Production uses [`NoHooks`].
pub trait Hooks: Send + Sync {
    /// Called after a step.
    ///
    /// # Errors
    /// [`Killed`] makes the process die here.
    fn reached(&self, step: Step, player_id: &str) -> Result<(), Killed>;

    /// Returns true when a safeguard is in place. False marks a test twin that is broken on purpose.
    fn keeps(&self, safeguard: Safeguard) -> bool {
        let _all = safeguard;
        true
    }
}

/// Observes nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoHooks;

impl Hooks for NoHooks {
    fn reached(&self, _step: Step, _player_id: &str) -> Result<(), Killed> {
        Ok(())
    }
}
