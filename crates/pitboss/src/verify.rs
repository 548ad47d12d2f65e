//! Proof that each fault becomes visible, that a control run shows nothing of the kind, that it ends, and that the money is right.
//!
//! Each [`Row`] names a fault, the work that meets it, and the [`Evidence`] that has to reach the recorder. [`run`] puts a row
//! through the same steps: rest, control, fault, recovery, audit. [`verdict`] then judges what was seen. [`soak`] is the opposite:
//! a load without any fault, which has to show nothing. [`sabotage`] proves the proof: without the fault's effect no row may hold.
//! [`reads`] does that with one read of a fault at a time. [`debug`] proves the debug endpoints, which no flag arms.

pub mod alerts;
pub mod debug;
mod figures;
mod money;
mod phase;
pub mod publish_report;
pub mod reads;
pub(crate) mod receipts;
pub mod report;
mod rows;
pub mod run;
pub mod sabotage;
pub mod scorecard;
pub mod soak;
pub mod verdict;
mod watch;
mod workload;

use std::time::Duration;

use faults::{FaultId, ReadSite, Scope};

use crate::evidence::Evidence;

pub use figures::Figures;
pub(crate) use figures::Usage;
pub(crate) use rows::row;
pub use rows::rows;
pub use workload::{Means, Progress, Workload};

/// Proof of one fault, as data.
#[derive(Clone, Debug)]
pub struct Row {
    /// The fault.
    pub fault: FaultId,
    /// Name of the variant of the fault that the row proves. Empty for the fault's own row.
    pub variant: &'static str,
    /// Traffic for which the fault is armed.
    pub reach: Reach,
    /// Parameters that differ from the defaults.
    pub params: &'static [(&'static str, i64)],
    /// Service whose busiest partition of the control becomes the parameter `partition`.
    pub partition_of: Option<&'static str>,
    /// Work that meets the fault.
    pub workload: Workload,
    /// Evidence that has to reach the recorder.
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
    /// Cause of the symptoms, where it is not the service that shows them. Empty otherwise.
    pub culprit: &'static str,
    /// Alert conditions of the fault that the work of this row cannot reach, each with the reason. All others have to hold.
    pub exempt: &'static [(&'static str, &'static str)],
    /// The work of the fault's phase is done again until the fault was applied as often as the row demands, for an action that
    /// takes its time.
    pub lasts_until_applied: bool,
    /// Waits for a big win or for minutes, so `verify --quick` leaves it out.
    pub is_slow: bool,
    /// Read of the fault that answers "off" while all others act. The row has to be red then.
    pub ineffective: Option<ReadSite>,
}

/// Traffic for which the fault of a row is armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All traffic, or the one service that the fault is made for.
    Usual,
    /// A share of the traffic, in percent.
    Share(u8),
    /// The first player of the work. In the control the fault is armed for a player who does not exist.
    Player,
    /// The release that runs. In the control the fault is armed for another one.
    Release,
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
/// Time after the deadline in which the alert conditions have to hold: lag and metrics need longer than the first signal.
pub const ALERT_AFTER: Duration = Duration::from_secs(25);

/// Longest time after the work for which a phase without a fault is read. Longer deadlines are for faults that need time to act,
/// while telemetry arrives within this time.
const QUIET_MAX: Duration = Duration::from_secs(10);
/// The same for metrics, which a service adds up for 5 s and sends every 5 s, and for reports of losses, which a sender sends up to
/// 9 s after the receiver answers again.
const METRIC_QUIET_MAX: Duration = Duration::from_secs(15);
/// The same for lag, which has to last for seconds, and which lagwatch reads every 3 s and sends every 5 s.
const LAG_QUIET_MAX: Duration = Duration::from_secs(20);

impl Row {
    /// A row with the default deadline, whose work begins at once.
    #[must_use]
    pub fn new(fault: FaultId, workload: Workload, evidence: Evidence) -> Self {
        Self {
            fault,
            variant: "",
            reach: Reach::Usual,
            params: &[],
            partition_of: None,
            workload,
            evidence,
            deadline: DEADLINE,
            deadline_reason: "",
            begins: Begins::Armed,
            arrives: Arrives::WhileArmed,
            applied_min: 1,
            culprit: "",
            exempt: &[],
            lasts_until_applied: false,
            is_slow: false,
            ineffective: None,
        }
    }

    /// Name of the row: that of its fault, with `@` and the variant if it is one. With an ineffective read it is that of the read.
    #[must_use]
    pub fn name(&self) -> String {
        let fault = self.fault;
        if let Some(site) = self.ineffective {
            return site.to_string();
        }
        if self.variant.is_empty() { fault.to_string() } else { format!("{fault}@{}", self.variant) }
    }

    /// The alert conditions that have to hold with the fault, and not without it.
    pub fn expected_alerts(&self) -> impl Iterator<Item = &'static str> {
        let (alerts, exempt) = (self.fault.definition().alerts, self.exempt);
        alerts.iter().copied().filter(move |alert| !exempt.iter().any(|(known, _)| known == alert))
    }

    /// Time after the first unit in which the alert conditions have to hold.
    #[must_use]
    pub fn alert_deadline(&self) -> Duration {
        self.deadline + ALERT_AFTER
    }

    /// Time after the work for which a phase without a fault is read: enough for the evidence to hold, if it could.
    #[must_use]
    pub fn quiet(&self) -> Duration {
        let signals = self.evidence.signals();
        let longest = signals.into_iter().map(quiet_max).max().unwrap_or(QUIET_MAX);
        self.deadline.min(longest)
    }

    /// Usual traffic of the fault: all, or the one service that the fault is made for.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match &self.fault.definition().default_scope {
            scope @ Scope::Service(_) => scope.clone(),
            _ => Scope::All,
        }
    }
}

/// Longest time in which a signal arrives after its cause.
fn quiet_max(signal: &Evidence) -> Duration {
    match signal {
        Evidence::Lag { .. } => LAG_QUIET_MAX,
        Evidence::MetricRatio { .. }
        | Evidence::MetricAbove { .. }
        | Evidence::MetricPeak { .. }
        | Evidence::MetricShare { .. }
        | Evidence::ClientReport { .. } => METRIC_QUIET_MAX,
        Evidence::Any(several) => several.iter().map(quiet_max).max().unwrap_or(QUIET_MAX),
        _ => QUIET_MAX,
    }
}
