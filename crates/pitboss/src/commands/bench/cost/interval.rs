//! An interval: what was read at its start and at its end.

use anyhow::Result;
use runtime::Layout;

use super::counters::Counters;
use super::usage::Usages;
use crate::commands::bench::turn;
use crate::target::Target;

/// Everything that is read at one moment.
#[derive(Debug)]
pub(super) struct Reading {
    /// Processes and machine.
    processes: turn::Reading,
    /// Counters of all services.
    pub(super) counters: Counters,
}

/// Two readings.
#[derive(Debug)]
pub(super) struct Interval {
    /// Reading before the interval.
    pub(super) begin: Reading,
    /// Reading after it.
    pub(super) end: Reading,
}

impl Reading {
    /// Reads what an interval begins with. The counters come first, so that the CPU time of the interval does not include the
    /// requests for them.
    pub(super) async fn at_start(target: &Target, layout: &Layout) -> Result<Self> {
        let counters = Counters::read(target).await?;
        Ok(Self { processes: turn::Reading::of(layout)?, counters })
    }

    /// Reads what an interval ends with. The counters come last, for the same reason.
    pub(super) async fn at_end(target: &Target, layout: &Layout) -> Result<Self> {
        let processes = turn::Reading::of(layout)?;
        Ok(Self { processes, counters: Counters::read(target).await? })
    }

    /// Usage of all processes.
    pub(super) fn usages(&self) -> &Usages {
        &self.processes.usages
    }
}

impl Interval {
    /// Duration between the two readings.
    pub(super) fn seconds(&self) -> f64 {
        self.end.processes.since(&self.begin.processes).as_secs_f64()
    }

    /// Share of the machine's CPU time in which its host ran something else, in percent.
    pub(super) fn steal_percent(&self) -> f64 {
        self.end.processes.steal_percent_since(&self.begin.processes)
    }
}
