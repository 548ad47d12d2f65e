//! Proof that each fault becomes visible, that a control run shows nothing of the kind, that it ends, and that the money is right.
//!
//! Each [`Row`] names a fault, the work that meets it, and the [`Evidence`] that has to reach the recorder. [`run`] puts a row
//! through the same steps: rest, control, fault, recovery, audit. [`verdict`] then judges what was seen. [`soak`] is the opposite:
//! a load without any fault, which has to show nothing.

pub mod alerts;
mod figures;
mod money;
mod phase;
pub(crate) mod receipts;
pub mod report;
mod rows;
pub mod run;
pub mod scorecard;
pub mod soak;
pub mod verdict;
mod watch;
mod workload;

use std::time::Duration;

use faults::{FaultId, Scope};

use crate::evidence::Evidence;

pub use figures::Figures;
pub(crate) use figures::Usage;
pub(crate) use rows::row;
pub use rows::rows;
pub use workload::{Means, Progress, Workload};

/// How one fault is proven.
#[derive(Clone, Debug)]
pub struct Row {
    /// The fault.
    pub fault: FaultId,
    /// Parameters that differ from the defaults.
    pub params: &'static [(&'static str, i64)],
    /// Service whose busiest partition of the control becomes the parameter `partition`.
    pub partition_of: Option<&'static str>,
    /// Work that meets the fault. `None`: no work does yet, so the row is reported as NOT EXPOSED.
    pub workload: Option<Workload>,
    /// What has to reach the recorder.
    pub evidence: Evidence,
    /// Time after the first unit in which the evidence has to hold.
    pub deadline: Duration,
    /// Reason for a longer deadline than [`DEADLINE`]. Empty otherwise.
    pub deadline_reason: &'static str,
    /// Moment at which the work of the fault's phase begins.
    pub begins: Begins,
    /// Time in which the evidence arrives.
    pub arrives: Arrives,
    /// Smallest number of times that the fault has to be applied.
    pub applied_min: u64,
    /// Who causes the symptoms, where it is not the service that shows them. Empty otherwise.
    pub culprit: &'static str,
    /// Waits for a big win, so `verify --quick` leaves it out.
    pub is_slow: bool,
}

/// Moment at which the work of the fault's phase begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    /// As soon as the services have read the flag file.
    Armed,
    /// When the fault was applied once, for a fault whose effect lasts.
    Applied,
    /// When it was applied as often as the row demands, for a fault that is records. Their evidence counts from the beginning.
    Injected,
}

/// Time in which the evidence of a row arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrives {
    /// While the fault is armed.
    WhileArmed,
    /// When it has ended, because the fault keeps telemetry back.
    AfterTheEnd,
}

/// Deadline of a row that has no reason for another one.
pub const DEADLINE: Duration = Duration::from_secs(5);

impl Row {
    /// A row with the default deadline, whose work begins at once.
    #[must_use]
    pub fn new(fault: FaultId, workload: Workload, evidence: Evidence) -> Self {
        Self {
            fault,
            params: &[],
            partition_of: None,
            workload: Some(workload),
            evidence,
            deadline: DEADLINE,
            deadline_reason: "",
            begins: Begins::Armed,
            arrives: Arrives::WhileArmed,
            applied_min: 1,
            culprit: "",
            is_slow: false,
        }
    }

    /// Traffic for which the fault is armed: all, or the one service that the fault is made for.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match &self.fault.definition().default_scope {
            scope @ Scope::Service(_) => scope.clone(),
            _ => Scope::All,
        }
    }
}
