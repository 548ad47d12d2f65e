//! Proof that each fault becomes visible, that a control run shows nothing of the kind, that it ends, and that the money is right.
//!
//! Each [`Row`] names a fault, the work that meets it, and the [`Evidence`] that has to reach the recorder. [`run`] puts a row
//! through the same steps: rest, control, fault, recovery, audit. [`verdict`] then judges what was seen.

pub(crate) mod receipts;
pub mod report;
mod rows;
pub mod run;
pub mod verdict;
mod workload;

use std::time::Duration;

use faults::FaultId;

use crate::evidence::Evidence;

pub use rows::rows;
pub use workload::{Progress, Workload};

/// How one fault is proven.
#[derive(Clone, Debug)]
pub struct Row {
    /// The fault.
    pub fault: FaultId,
    /// Parameters that differ from the defaults.
    pub params: &'static [(&'static str, i64)],
    /// Work that meets the fault. `None`: no work does yet, so the row is reported as NOT EXPOSED.
    pub workload: Option<Workload>,
    /// What has to reach the recorder.
    pub evidence: Evidence,
    /// Time after the first unit in which the evidence has to hold.
    pub deadline: Duration,
    /// Reason for a longer deadline than [`DEADLINE`]. Empty otherwise.
    pub deadline_reason: &'static str,
    /// Needs many units of work, so `verify --quick` leaves it out.
    pub is_slow: bool,
}

/// Deadline of a row that has no reason for another one.
pub const DEADLINE: Duration = Duration::from_secs(5);
