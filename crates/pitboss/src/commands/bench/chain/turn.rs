//! A turn at a fixed rate: what one side settled, and what the processes that work for it used.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result};
use runtime::Layout;
use runtime::os_process::ProcessId;
use serde::Serialize;

use super::side::Side;
use crate::commands::bench::comparison::Figure;
use crate::commands::bench::cost::usage::ProcessUsage;
use crate::commands::bench::program::PROGRAM;
use crate::commands::bench::turn::{Bets, PerSecond, Reading, Sent, idle};
use crate::output::Output;

/// The figures that are compared.
pub(super) const FIGURES: [Figure<Turn>; 5] = [
    Figure {
        name: "settled_per_s",
        title: "settled/s",
        is_limited: false,
        is_more_better: true,
        of: |turn| turn.bets.settled_per_s,
    },
    Figure::less("p50_ms", "p50 ms", false, |turn| turn.bets.latency_ms.p50),
    Figure::less("p95_ms", "p95 ms", false, |turn| turn.bets.latency_ms.p95),
    Figure::less("p99_ms", "p99 ms", false, |turn| turn.bets.latency_ms.p99),
    Figure::less("cpu_ms_per_bet", "CPU ms/bet", false, |turn| turn.cpu_ms_per_bet),
];

/// Result of one turn.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Turn {
    /// Side that was measured.
    pub(super) side: Side,
    #[serde(flatten)]
    pub(super) bets: Bets,
    /// CPU time of a settled bet by process, without what the process uses when nothing is sent.
    pub(super) cpu_ms: BTreeMap<String, f64>,
    /// The sum of these.
    pub(super) cpu_ms_per_bet: f64,
    /// Share of the machine's CPU time that its host took in the interval.
    pub(super) steal_percent: f64,
}

/// The processes of the platform and that of the chain.
#[derive(Debug)]
pub(super) struct Processes<'a> {
    /// Folders of the platform.
    pub(super) layout: &'a Layout,
    /// The chain's process.
    pub(super) chain: ProcessId,
}

impl Processes<'_> {
    /// Reads all processes.
    ///
    /// # Errors
    /// When the chain has ended.
    pub(super) fn read(&self) -> Result<Reading> {
        let mut reading = Reading::of(self.layout)?;
        let chain = ProcessUsage::read(self.chain.clone()).context("the bare chain has ended")?;
        reading.usages.0.insert(PROGRAM.to_owned(), chain);
        Ok(reading)
    }

    /// Measures an interval in which this command sends nothing.
    ///
    /// # Errors
    /// When a process did not run throughout.
    pub(super) async fn idle(&self, duration: Duration, output: &Output) -> Result<PerSecond> {
        let begin = self.read()?;
        idle(duration, output).await;
        self.read()?.idle_cpu_ms_per_s_since(&begin)
    }
}

impl Turn {
    /// Divides what the processes of the side used by its settled bets.
    ///
    /// # Errors
    /// When a process did not run throughout.
    pub(super) fn of(side: Side, sent: Sent, idle: &PerSecond) -> Result<Self> {
        let cpu_ms = costs(side, &sent.cpu_ms()?, idle, sent.bets.seconds, sent.bets.settled);
        Ok(Self {
            side,
            cpu_ms_per_bet: cpu_ms.values().sum(),
            cpu_ms,
            steal_percent: sent.steal_percent(),
            bets: sent.bets,
        })
    }
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { side, bets: Bets { latency_ms, .. }, cpu_ms_per_bet, .. } = self;
        write!(f, "{side}: {latency_ms}, CPU {cpu_ms_per_bet:.2} ms/bet")
    }
}

/// CPU time of a bet in each process that works for a side.
fn costs(
    side: Side,
    used_ms: &BTreeMap<String, f64>,
    idle: &PerSecond,
    seconds: f64,
    bets: u64,
) -> BTreeMap<String, f64> {
    let used_ms = used_ms.iter().filter(|(process, _)| side.uses(process));
    let costs = used_ms.map(|(process, used_ms)| {
        let idle_ms = idle.get(process).copied().unwrap_or_default() * seconds;
        (process.clone(), (used_ms - idle_ms) / bets as f64)
    });
    costs.collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::commands::bench::turn::tests::bets;

    /// A turn with this median and, in game or in the chain, this CPU time.
    pub(in super::super) fn turn(side: Side, p50: f64, cpu_ms_per_bet: f64) -> Turn {
        let process = if side == Side::Chain { PROGRAM } else { "game" };
        Turn {
            side,
            bets: bets(p50),
            cpu_ms: BTreeMap::from([(process.to_owned(), cpu_ms_per_bet)]),
            cpu_ms_per_bet,
            steal_percent: 0.0,
        }
    }

    #[test]
    fn cost_is_that_of_the_side_without_idle_time() {
        let named = |list: &[(&str, f64)]| -> BTreeMap<String, f64> {
            list.iter().map(|(name, ms)| ((*name).to_owned(), *ms)).collect()
        };
        let used = named(&[(PROGRAM, 100.0), ("game", 300.0), ("kafka", 250.0)]);
        let idle = named(&[("game", 5.0), ("kafka", 10.0)]);
        let chain = costs(Side::Chain, &used, &idle, 15.0, 50);
        assert_eq!(chain, named(&[(PROGRAM, 2.0), ("kafka", 2.0)]));
        let platform = costs(Side::Platform, &used, &idle, 15.0, 50);
        assert_eq!(platform, named(&[("game", 4.5), ("kafka", 2.0)]));
    }
}
