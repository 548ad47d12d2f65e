//! State of one part in the supervisor.

use crate::part::{PartSpec, PartState};
use crate::policy::Deaths;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Stopped,
    Waiting,
    Starting,
    Ready,
    Unready,
    Frozen,
    Stopping { kill_at_ms: Option<u64>, again: bool },
    Pausing { until_ms: u64 },
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) spec: PartSpec,
    /// Spec that replaces `spec` at the next start.
    pub(super) next: Option<PartSpec>,
    pub(super) phase: Phase,
    pub(super) generation: u64,
    pub(super) pid: Option<i32>,
    pub(super) started_ms: u64,
    pub(super) was_ready: bool,
    pub(super) deaths: Deaths,
    pub(super) restarts: u32,
    pub(super) last_exit: Option<String>,
    /// Not in the plan any more. It is removed as soon as it has ended.
    pub(super) removed_from_plan: bool,
}

impl Entry {
    pub(super) fn new(spec: PartSpec) -> Self {
        Self {
            spec,
            next: None,
            phase: Phase::Stopped,
            generation: 0,
            pid: None,
            started_ms: 0,
            was_ready: false,
            deaths: Deaths::default(),
            restarts: 0,
            last_exit: None,
            removed_from_plan: false,
        }
    }

    pub(super) fn runs(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Ready | Phase::Unready | Phase::Frozen)
    }

    pub(super) fn newest_spec(&self) -> &PartSpec {
        self.next.as_ref().unwrap_or(&self.spec)
    }

    pub(super) fn state(&self) -> PartState {
        match self.phase {
            Phase::Stopped => PartState::Stopped,
            Phase::Waiting => PartState::Waiting,
            Phase::Starting | Phase::Pausing { .. } if self.deaths.crash_looping() => PartState::CrashLooping,
            Phase::Starting => PartState::Starting,
            Phase::Ready => PartState::Ready,
            Phase::Unready => PartState::Unready,
            Phase::Frozen => PartState::Frozen,
            Phase::Stopping { .. } => PartState::Stopping,
            Phase::Pausing { .. } => PartState::Restarting,
        }
    }
}
