//! A turn at a fixed rate: what one side settled, and what the processes that work for it used.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use runtime::Layout;
use runtime::os_process::ProcessId;
use serde::Serialize;

use super::bettors::Side;
use super::program::PROGRAM;
use crate::commands::bench::comparison::Figure;
use crate::commands::bench::cost::machine::MachineTicks;
use crate::commands::bench::cost::report::kinds;
use crate::commands::bench::cost::usage::{ProcessUsage, Usages};
use crate::load_generator::load_report::{LatencyMs, Report, Tally};
use crate::output::Output;

/// Milliseconds of CPU time in each second, by process.
pub(super) type PerSecond = BTreeMap<String, f64>;

/// The figures that are compared.
pub(super) const FIGURES: [Figure<Turn>; 5] = [
    Figure {
        name: "settled_per_s",
        title: "settled/s",
        is_limited: false,
        is_more_better: true,
        of: |turn| turn.settled_per_s,
    },
    Figure::less("p50_ms", "p50 ms", false, |turn| turn.latency_ms.p50),
    Figure::less("p95_ms", "p95 ms", false, |turn| turn.latency_ms.p95),
    Figure::less("p99_ms", "p99 ms", false, |turn| turn.latency_ms.p99),
    Figure::less("cpu_ms_per_bet", "CPU ms/bet", false, |turn| turn.cpu_ms_per_bet),
];

/// Result of one turn.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Turn {
    /// Side that was measured.
    pub(super) side: Side,
    /// Duration of the measured interval, up to its last answer.
    pub(super) seconds: f64,
    /// Bets that were to be sent in the interval.
    pub(super) sent: u64,
    /// Those of them that were settled.
    pub(super) settled: u64,
    /// Those of them that were rejected for a business reason.
    pub(super) rejected: u64,
    /// Bets of the interval and of the warm-up that were not answered with 200, by kind.
    pub(super) errors: BTreeMap<String, u64>,
    /// Settled bets a second.
    pub(super) settled_per_s: f64,
    /// Latencies of the interval, from the scheduled time of sending.
    pub(super) latency_ms: LatencyMs,
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

/// What is read at one moment.
#[derive(Debug)]
pub(super) struct Reading {
    at: Instant,
    usages: Usages,
    machine: MachineTicks,
}

impl Processes<'_> {
    /// Reads all processes.
    ///
    /// # Errors
    /// When the chain has ended.
    pub(super) fn read(&self) -> Result<Reading> {
        let machine = MachineTicks::read()?;
        let mut usages = Usages::read(self.layout);
        let chain = ProcessUsage::read(self.chain.clone()).context("the bare chain has ended")?;
        usages.0.insert(PROGRAM.to_owned(), chain);
        Ok(Reading { at: Instant::now(), usages, machine })
    }

    /// Measures an interval in which this command sends nothing.
    ///
    /// # Errors
    /// When a process did not run throughout.
    pub(super) async fn idle(&self, duration: Duration, output: &Output) -> Result<PerSecond> {
        let live = output.spinner("idle interval");
        live.set_message(format!("measuring both without a load for {} s", duration.as_secs()));
        let begin = self.read()?;
        tokio::time::sleep(duration).await;
        let end = self.read()?;
        live.finish_and_clear();
        let seconds = end.since(&begin).as_secs_f64();
        let used = end.usages.cpu_ms_since(&begin.usages).context("the idle interval cannot be used")?;
        Ok(used.into_iter().map(|(process, cpu_ms)| (process, cpu_ms / seconds)).collect())
    }
}

impl Reading {
    fn since(&self, begin: &Self) -> Duration {
        self.at.saturating_duration_since(begin.at)
    }
}

impl Turn {
    /// Result of the bets between two readings.
    ///
    /// # Errors
    /// When a process did not run throughout, or when no bet was settled.
    pub(super) fn of(
        side: Side,
        [begin, end]: [&Reading; 2],
        idle: &PerSecond,
        tally: &Tally,
        warm_up: Option<&Tally>,
    ) -> Result<Self> {
        let report = tally.report(None, end.since(begin));
        // A refused bet costs nearly nothing, so a turn with one would make its side look cheap and fast.
        let mut errors = report.errors_and_refusals();
        for (kind, count) in warm_up.map(Tally::errors_and_refusals).unwrap_or_default() {
            *errors.entry(kind).or_default() += count;
        }
        let Report { duration_s, settled_per_s, sent, settled, rejected, latency_ms, .. } = report;
        if settled == 0 {
            bail!("no bet was settled on the {side} (errors: {})", kinds(&errors));
        }
        let used = end.usages.cpu_ms_since(&begin.usages);
        let used = used.with_context(|| format!("a turn on the {side} cannot be used"))?;
        let cpu_ms = costs(side, &used, idle, duration_s, settled);
        Ok(Self {
            side,
            seconds: duration_s,
            sent,
            settled,
            rejected,
            errors,
            settled_per_s,
            latency_ms,
            cpu_ms_per_bet: cpu_ms.values().sum(),
            cpu_ms,
            steal_percent: end.machine.steal_percent_since(&begin.machine),
        })
    }
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { side, latency_ms, cpu_ms_per_bet, .. } = self;
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
    use crate::load_generator::load_report::{Kind, Outcome};

    /// A turn with this median and, in game or in the chain, this CPU time.
    pub(in super::super) fn turn(side: Side, p50: f64, cpu_ms_per_bet: f64) -> Turn {
        let process = if side == Side::Chain { PROGRAM } else { "game" };
        Turn {
            side,
            seconds: 15.0,
            sent: 300,
            settled: 300,
            rejected: 0,
            errors: BTreeMap::new(),
            settled_per_s: 20.0,
            latency_ms: LatencyMs { p50, p95: 2.0 * p50, p99: 3.0 * p50, max: 4.0 * p50 },
            cpu_ms: BTreeMap::from([(process.to_owned(), cpu_ms_per_bet)]),
            cpu_ms_per_bet,
            steal_percent: 0.0,
        }
    }

    #[test]
    fn refused_bet_is_an_error_of_a_turn() {
        let tally = |kinds: &[Kind]| {
            let mut tally = Tally::default();
            for kind in kinds {
                tally.add(Outcome { kind: *kind, latency: Duration::from_millis(5), trace_id: None });
            }
            tally
        };
        let usage = ProcessUsage {
            process: ProcessId { pid: 1, start_ticks: 1, boot_id: String::new() },
            ticks: 0,
            switches: BTreeMap::new(),
        };
        let reading = || Reading {
            at: Instant::now(),
            usages: Usages(BTreeMap::from([("game".to_owned(), usage.clone())])),
            machine: MachineTicks::read().unwrap(),
        };
        let (begin, end) = (reading(), reading());
        let (sent, warm_up) = (tally(&[Kind::Settled, Kind::Refused]), tally(&[Kind::Refused]));
        let turn =
            Turn::of(Side::Platform, [&begin, &end], &PerSecond::new(), &sent, Some(&warm_up)).unwrap();
        assert_eq!((turn.sent, turn.settled), (2, 1));
        assert_eq!(turn.errors, BTreeMap::from([("refused".to_owned(), 2)]));
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
