//! The named points between two steps of the protocol, where a test lets a process die, and the safeguards that a test
//! takes away to see that its audit would notice.

/// Right after which step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// The account was read.
    AccountRead,
    /// The ledger was asked for the command.
    LedgerRead,
    /// A report may settle its payment: nobody begins to ask the provider any more.
    ReportAdmitted,
    /// The compare-and-set won.
    DecisionWritten,
    /// The ledger row is there.
    RowWritten,
    /// The payment that was settled is off the provider's list, and nobody has been told.
    IntentEnded,
    /// The event was acknowledged, and nobody has noted it yet.
    EventPublished,
    /// The conflict event was acknowledged.
    ConflictPublished,
    /// Entries were removed from the tail.
    Trimmed,
}

impl Step {
    /// Every step.
    pub const ALL: &'static [Self] = &[
        Self::AccountRead,
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

/// What keeps the protocol safe; see `models/ledger_model.py` for what happens without each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Safeguard {
    /// The ledger is asked when the tail does not know the command.
    LedgerRead,
    /// A rejection is recorded like any other decision.
    RejectionRecorded,
    /// Only what was acknowledged is trimmed.
    AckBeforeTrim,
    /// The compare-and-set compares the version.
    VersionCompared,
    /// Lower entries are relayed first.
    LowerFirst,
}

/// The process is to die here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("killed after {0:?}")]
pub struct Killed(pub Step);

/// Watches the steps. In production nothing does.
pub trait Hooks: Send + Sync {
    /// A step was done.
    ///
    /// # Errors
    /// To die here.
    fn reached(&self, step: Step, player_id: &str) -> Result<(), Killed>;

    /// Whether a safeguard is in place. Anything but `true` is a twin broken on purpose.
    fn keeps(&self, safeguard: Safeguard) -> bool {
        let _every_one = safeguard;
        true
    }
}

/// Watches nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoHooks;

impl Hooks for NoHooks {
    fn reached(&self, _step: Step, _player_id: &str) -> Result<(), Killed> {
        Ok(())
    }
}
