//! Drills: guided runs for a person, from a load through a fault to its end and a summary for a report (`docs/DRILLS.md`).
//!
//! A [`Scenario`] is data: a list of [`Step`]s, one file each in [`scenarios`]. [`engine`] goes through the steps. It asks a
//! [`stage`] for everything that happens on the platform, and a [`person`] for everything that is said. Faults, load and evidence
//! are those of [`crate::verify`].

mod addresses;
mod console;
pub(crate) mod engine;
mod person;
pub(crate) mod platform;
pub(crate) mod release;
pub(crate) mod release_order;
pub mod scenarios;
mod stage;
pub mod summary;
mod watcher;

use faults::{Acts, FaultId, Scope};

use crate::lag::signature::Signature;
use crate::verify::debug::DebugRow;
use crate::verify::{Row, Workload, row};

pub(crate) use console::Console;

/// A guided run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// Title, in one line.
    pub title: &'static str,
    /// Its steps, in their order.
    pub steps: Vec<Step>,
}

/// One step of a scenario.
#[derive(Clone, Debug)]
pub enum Step {
    /// Text for the person, who confirms when to continue.
    Say(&'static str),
    /// Work without a fault, which shows what is normal.
    Load(Workload),
    /// Arms a fault.
    Arm(Box<Break>),
    /// Work under the armed fault until something is seen, with lag and error rate shown live.
    WatchUntil(Until),
    /// Work under the armed fault until the person names it.
    Guess,
    /// Disarms the fault, and waits until it shows nothing any more.
    Heal,
    /// Waits, after the fault was disarmed, until an alert rule of the recorder does not fire any more.
    Resolved {
        /// The rule.
        rule: &'static str,
        /// Longest time, in seconds.
        within_s: u32,
    },
    /// Names a page of the recorder.
    Look(&'static str),
    /// Causes an error at a service, several times, and looks for its one issue.
    Cause(DebugRow),
    /// Acts on the dead letters of this run.
    Letters(LetterAction),
    /// Audits the money of this run.
    Audit,
    /// Voids the bets whose payouts the audit finds wrong.
    Compensate,
}

/// A fault as a scenario arms it.
#[derive(Clone, Debug)]
pub struct Break {
    /// Fault, parameters, work and evidence.
    pub row: Row,
    /// Traffic that the fault concerns.
    pub scope: Scope,
    /// The drill does not name the fault.
    pub is_hidden: bool,
}

/// End of a watch. A watch that sees nothing has a time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The evidence of the fault holds.
    Evidence,
    /// The lag of a group has a signature.
    Signature {
        /// The group.
        group: &'static str,
        /// The signature.
        signature: Signature,
    },
    /// An alert rule of the recorder fires.
    Alert {
        /// Slug of the rule, or `check-in` with the slug of a monitor.
        rule: &'static str,
        /// Longest time, in seconds.
        within_s: u32,
    },
    /// Nothing. The caller ends it.
    Interrupted,
}

/// Action on dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetterAction {
    /// Shows them.
    List,
    /// Publishes their records again, and waits until each of them was handled or came back.
    Replay {
        /// The cause is repaired, so every record has to be handled.
        heals: bool,
    },
    /// Gives them up.
    Discard,
}

impl LetterAction {
    /// Name in the summary, as in `./pitboss dlq`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Replay { .. } => "replay",
            Self::Discard => "discard",
        }
    }
}

impl Break {
    /// A fault with the parameters, the work and the evidence of its row of `verify`.
    #[must_use]
    pub fn of(fault: FaultId) -> Self {
        let row = row(fault);
        let scope = row.scope();
        Self { row, scope, is_hidden: false }
    }

    /// The fault.
    #[must_use]
    pub fn fault(&self) -> FaultId {
        self.row.fault
    }

    /// Returns true if the supervisor of the local platform has to apply the fault.
    #[must_use]
    pub fn needs_supervisor(&self) -> bool {
        self.fault().definition().acts == Acts::Supervisor
    }
}

impl Step {
    /// Arms a fault as its row of `verify` does.
    #[must_use]
    pub fn arm(fault: FaultId) -> Self {
        Self::Arm(Box::new(Break::of(fault)))
    }
}

impl Scenario {
    /// Returns true if the platform has to have its debug endpoints.
    #[must_use]
    pub fn needs_debug(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Cause(_)))
    }

    /// Leaves out the faults that only the supervisor of a local platform applies, and returns them.
    pub fn leave_out_supervisor(&mut self) -> Vec<FaultId> {
        let (mut left_out, mut skips, mut skips_end) = (Vec::new(), false, false);
        self.steps.retain(|step| {
            if let Step::Arm(broken) = step {
                skips = broken.needs_supervisor();
                skips_end = skips;
                if skips {
                    left_out.push(broken.fault());
                }
            }
            // What follows the fault is left out with it.
            let is_end = matches!(step, Step::Resolved { .. } | Step::Letters(LetterAction::Discard));
            let keeps = !(skips || is_end && skips_end);
            if matches!(step, Step::Heal) {
                skips = false;
            }
            keeps
        });
        left_out
    }
}
