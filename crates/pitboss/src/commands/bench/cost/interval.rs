//! An interval: what was read at its start and at its end.

use std::time::Instant;

use anyhow::Result;
use runtime::Layout;

use super::counters::Counters;
use super::machine::MachineTicks;
use super::usage::Usages;
use crate::target::Target;

/// Everything that is read at one moment.
#[derive(Debug)]
pub(super) struct Reading {
    at: Instant,
    /// Processes of all parts.
    pub(super) usages: Usages,
    /// CPU time of the machine.
    pub(super) machine: MachineTicks,
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
        Self::with(counters, layout)
    }

    /// Reads what an interval ends with. The counters come last, for the same reason.
    pub(super) async fn at_end(target: &Target, layout: &Layout) -> Result<Self> {
        let reading = Self::with(Counters::default(), layout)?;
        Ok(Self { counters: Counters::read(target).await?, ..reading })
    }

    fn with(counters: Counters, layout: &Layout) -> Result<Self> {
        let machine = MachineTicks::read()?;
        Ok(Self { at: Instant::now(), usages: Usages::read(layout), machine, counters })
    }
}

impl Interval {
    /// Duration between the two readings.
    pub(super) fn seconds(&self) -> f64 {
        self.end.at.saturating_duration_since(self.begin.at).as_secs_f64()
    }

    /// Share of the machine's CPU time in which its host ran something else, in percent.
    pub(super) fn steal_percent(&self) -> f64 {
        self.end.machine.steal_percent_since(&self.begin.machine)
    }
}
