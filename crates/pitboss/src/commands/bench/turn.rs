//! A turn: bets for a fixed time, their results, and what the processes of the platform used meanwhile.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use runtime::Layout;
use serde::Serialize;

use super::cost::machine::MachineTicks;
use super::cost::report::kinds;
use super::cost::usage::Usages;
use crate::load_generator::load_report::{Kind, LatencyMs, Report, Tally};
use crate::output::Output;

/// Milliseconds of CPU time in each second, by process.
pub(super) type PerSecond = BTreeMap<String, f64>;

/// Processes and machine at one moment.
#[derive(Debug)]
pub(super) struct Reading {
    at: Instant,
    /// Usage of all processes.
    pub(super) usages: Usages,
    machine: MachineTicks,
}

/// Bets of a turn, by result.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Bets {
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
}

/// Bets of a turn, and what was read before and after them.
#[derive(Debug)]
pub(super) struct Sent {
    /// The bets.
    pub(super) bets: Bets,
    /// The settled ones, with those of the warm-up.
    pub(super) settled: Settled,
    /// Reading after the warm-up.
    pub(super) begin: Reading,
    /// Reading after the last answer.
    pub(super) end: Reading,
}

/// Settled bets of a turn, with those of its warm-up.
#[derive(Clone, Debug, Default)]
pub(super) struct Settled {
    /// Number of them.
    pub(super) bets: u64,
    /// Their traces, as far as the answers named them.
    pub(super) trace_ids: Vec<String>,
}

/// Result of a turn on a platform, with all that its processes used.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PlatformTurn {
    #[serde(flatten)]
    pub(super) bets: Bets,
    /// CPU time of all processes of the platform in the interval.
    pub(super) cpu_ms: f64,
    /// The same, divided by the settled bets.
    pub(super) cpu_ms_per_bet: f64,
    /// Share of the machine's CPU time that its host took in the interval.
    pub(super) steal_percent: f64,
}

/// Bets of several turns together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Totals {
    sent: u64,
    settled: u64,
    rejected: u64,
    /// Bets that were not answered with 200, by kind.
    errors: BTreeMap<String, u64>,
}

impl Reading {
    /// Reads the processes of a platform.
    pub(super) fn of(layout: &Layout) -> Result<Self> {
        let machine = MachineTicks::read()?;
        Ok(Self { at: Instant::now(), usages: Usages::read(layout), machine })
    }

    /// Time since an earlier reading.
    pub(super) fn since(&self, begin: &Self) -> Duration {
        self.at.saturating_duration_since(begin.at)
    }

    /// CPU time in milliseconds of each process since an earlier reading.
    ///
    /// # Errors
    /// Those of [`Usages::cpu_ms_since`].
    pub(super) fn cpu_ms_since(&self, begin: &Self) -> Result<BTreeMap<String, f64>> {
        self.usages.cpu_ms_since(&begin.usages)
    }

    /// CPU time in milliseconds of each process in each second since an earlier reading, in which nothing was sent.
    ///
    /// # Errors
    /// Those of [`Usages::cpu_ms_since`].
    pub(super) fn idle_cpu_ms_per_s_since(&self, begin: &Self) -> Result<PerSecond> {
        let seconds = self.since(begin).as_secs_f64();
        let used = self.cpu_ms_since(begin).context("the idle interval cannot be used")?;
        Ok(used.into_iter().map(|(process, cpu_ms)| (process, cpu_ms / seconds)).collect())
    }

    /// Share of the machine's CPU time since an earlier reading that its host took, in percent.
    pub(super) fn steal_percent_since(&self, begin: &Self) -> f64 {
        self.machine.steal_percent_since(&begin.machine)
    }
}

/// Waits for an interval in which this command sends nothing.
pub(super) async fn idle(duration: Duration, output: &Output) {
    let live = output.spinner("idle interval");
    live.set_message(format!("measuring without a load for {} s", duration.as_secs()));
    tokio::time::sleep(duration).await;
    live.finish_and_clear();
}

impl Bets {
    /// Counts the bets of an interval that took this time, and the errors of the warm-up before it.
    pub(super) fn of(tally: &Tally, warm_up: &Tally, took: Duration) -> Self {
        let report = tally.report(None, took);
        // A refused bet costs nearly nothing, so a turn with one would look cheap and fast.
        let mut errors = report.errors_and_refusals();
        add(&mut errors, &warm_up.errors_and_refusals());
        let Report { duration_s, settled_per_s, sent, settled, rejected, latency_ms, .. } = report;
        Self { seconds: duration_s, sent, settled, rejected, errors, settled_per_s, latency_ms }
    }
}

impl Settled {
    /// The settled bets of the warm-up and of the interval.
    pub(super) fn of(tallies: [Tally; 2]) -> Self {
        tallies.into_iter().fold(Self::default(), |mut settled, tally| {
            settled.bets += tally.count(Kind::Settled);
            settled.trace_ids.extend(tally.trace_ids);
            settled
        })
    }
}

impl Sent {
    /// CPU time in milliseconds of each process in the interval.
    ///
    /// # Errors
    /// When a process cannot be read, or did not run throughout.
    pub(super) fn cpu_ms(&self) -> Result<BTreeMap<String, f64>> {
        self.end.cpu_ms_since(&self.begin)
    }

    /// Share of the machine's CPU time in the interval that its host took, in percent.
    pub(super) fn steal_percent(&self) -> f64 {
        self.end.steal_percent_since(&self.begin)
    }
}

impl PlatformTurn {
    /// Adds up what the processes used.
    ///
    /// # Errors
    /// Those of [`Sent::cpu_ms`].
    pub(super) fn of(sent: Sent) -> Result<Self> {
        let cpu_ms = sent.cpu_ms()?.values().sum();
        Ok(Self::with(cpu_ms, sent.steal_percent(), sent.bets))
    }

    fn with(cpu_ms: f64, steal_percent: f64, bets: Bets) -> Self {
        Self { cpu_ms, cpu_ms_per_bet: cpu_ms / bets.settled as f64, steal_percent, bets }
    }
}

impl Totals {
    /// Adds up the bets of these turns.
    pub(super) fn of<'a>(turns: impl IntoIterator<Item = &'a Bets>) -> Self {
        turns.into_iter().fold(Self::default(), |mut totals, bets| {
            totals.sent += bets.sent;
            totals.settled += bets.settled;
            totals.rejected += bets.rejected;
            add(&mut totals.errors, &bets.errors);
            totals
        })
    }

    /// Says that not every bet was settled. `None` if all were.
    pub(super) fn problem(&self) -> Option<String> {
        let failed: u64 = self.errors.values().sum();
        if failed > 0 {
            return Some(format!("{failed} bets were not answered with 200: {}", kinds(&self.errors)));
        }
        rejections(self.rejected)
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, settled, rejected, errors } = self;
        write!(f, "{sent} bets: settled {settled} · rejected {rejected} · errors {}", kinds(errors))
    }
}

/// Says that bets were rejected. Each player has money for all bets, so a rejected one is a defect that would look like a fast bet.
pub(super) fn rejections(rejected: u64) -> Option<String> {
    (rejected > 0)
        .then(|| format!("{rejected} bets were rejected, although each player has money for all of them"))
}

/// Adds counts by kind to others.
pub(super) fn add(sum: &mut BTreeMap<String, u64>, counts: &BTreeMap<String, u64>) {
    for (kind, count) in counts {
        *sum.entry(kind.clone()).or_default() += count;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::load_generator::load_report::Outcome;

    /// A turn with 300 settled bets and this median. Each other percentile is larger by it.
    pub(in crate::commands::bench) fn bets(p50: f64) -> Bets {
        Bets {
            seconds: 15.0,
            sent: 300,
            settled: 300,
            rejected: 0,
            errors: BTreeMap::new(),
            settled_per_s: 20.0,
            latency_ms: LatencyMs { p50, p95: 2.0 * p50, p99: 3.0 * p50, max: 4.0 * p50 },
        }
    }

    /// The same on a platform that used this CPU time for a bet.
    pub(in crate::commands::bench) fn platform_turn(p50: f64, cpu_ms_per_bet: f64) -> PlatformTurn {
        PlatformTurn::with(cpu_ms_per_bet * 300.0, 0.0, bets(p50))
    }

    fn tally(list: &[(Kind, usize)]) -> Tally {
        let mut tally = Tally::default();
        for kind in list.iter().flat_map(|(kind, count)| std::iter::repeat_n(*kind, *count)) {
            tally.add(Outcome { kind, latency: Duration::from_millis(5), trace_id: None });
        }
        tally
    }

    #[test]
    fn turn_counts_errors_of_its_warm_up() {
        let interval = tally(&[(Kind::Settled, 40), (Kind::NotInTime, 1)]);
        let warm_up = tally(&[(Kind::Settled, 5), (Kind::NotInTime, 2)]);
        let bets = Bets::of(&interval, &warm_up, Duration::from_secs(2));
        assert_eq!((bets.sent, bets.settled), (41, 40));
        assert_eq!(bets.errors, BTreeMap::from([("not_in_time".to_owned(), 3)]));
        let turn = PlatformTurn::with(200.0, 0.5, bets);
        assert!((turn.cpu_ms_per_bet - 5.0).abs() < 1e-9);
        let clean = Bets::of(&tally(&[(Kind::Settled, 1)]), &Tally::default(), Duration::from_secs(1));
        assert!(clean.errors.is_empty());
    }

    #[test]
    fn settled_bets_have_those_of_the_warm_up() {
        let traced = |kind, trace_id: &str| {
            let mut tally = tally(&[(kind, 2)]);
            tally.add(Outcome { kind, latency: Duration::ZERO, trace_id: Some(trace_id.to_owned()) });
            tally
        };
        let settled = Settled::of([traced(Kind::Settled, "a"), traced(Kind::Settled, "b")]);
        assert_eq!((settled.bets, settled.trace_ids), (6, vec!["a".to_owned(), "b".to_owned()]));
        let late = Settled::of([traced(Kind::NotInTime, "a"), Tally::default()]);
        assert_eq!((late.bets, late.trace_ids.len()), (0, 0));
    }

    #[test]
    fn refused_bet_is_an_error_of_a_turn() {
        let refused = tally(&[(Kind::Settled, 1), (Kind::Refused, 1)]);
        let bets = Bets::of(&refused, &refused, Duration::from_secs(2));
        assert_eq!((bets.sent, bets.settled), (2, 1));
        assert_eq!(bets.errors, BTreeMap::from([("refused".to_owned(), 2)]));
    }

    #[test]
    fn unanswered_and_rejected_bets_are_problems() {
        let turns = [bets(4.0), bets(4.0)];
        assert_eq!(Totals::of(&turns).problem(), None);
        let [mut first, mut second] = turns;
        first.rejected = 3;
        let problem = Totals::of([&first, &second]).problem();
        let expected = "3 bets were rejected, although each player has money for all of them";
        assert_eq!(problem.as_deref(), Some(expected));
        first.errors.insert("timeout".to_owned(), 1);
        second.errors.extend([("timeout".to_owned(), 2), ("http_503".to_owned(), 1)]);
        let totals = Totals::of([&first, &second]);
        let expected = "4 bets were not answered with 200: http_503 1, timeout 3";
        assert_eq!(totals.problem().as_deref(), Some(expected));
        let text = totals.to_string();
        assert_eq!(text, "600 bets: settled 600 · rejected 3 · errors http_503 1, timeout 3");
    }
}
