//! A turn: bets for a fixed time on one of the platforms, and what its processes used in it. The other platform idles, and its
//! processes are not counted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use runtime::Layout;
use serde::Serialize;

use super::platform::{Platform, Side};
use crate::commands::bench::cost::report::kinds;
use crate::commands::bench::cost::usage::Usages;
use crate::commands::bench::{self, cost::machine::MachineTicks};
use crate::commands::load;
use crate::load_generator::load_report::{LatencyMs, Report, Tally};
use crate::load_generator::plan::Plan;
use crate::output::Output;
use crate::player::{Gateway, Player};

/// Settings that all turns share.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Pace {
    /// Bets a second, sent at fixed times.
    pub(super) rate_per_s: u32,
    /// Duration of the measured interval.
    pub(super) seconds: u64,
    /// Duration of the load before it.
    pub(super) warm_up_s: u64,
    /// Players that share the bets.
    pub(super) players: u16,
}

/// Result of one turn.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Turn {
    /// Build that was measured.
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
    /// Latencies of the interval, from the scheduled time of sending.
    pub(super) latency_ms: LatencyMs,
    /// CPU time of all processes of the platform in the interval.
    pub(super) cpu_ms: f64,
    /// The same, divided by the settled bets.
    pub(super) cpu_ms_per_bet: f64,
    /// Share of the machine's CPU time that its host took in the interval.
    pub(super) steal_percent: f64,
}

/// Sends bets to one platform, always of the same players.
#[derive(Debug)]
pub(super) struct Bettors<'a> {
    platform: &'a Platform,
    gateway: Gateway,
    players: Vec<Player>,
    pace: Pace,
    output: &'a Output,
}

/// Counters at the start or at the end of an interval.
struct Reading {
    at: Instant,
    usages: Usages,
    machine: MachineTicks,
}

impl Pace {
    /// Bets at this pace for some seconds.
    fn plan(self, seconds: u64) -> Plan {
        bench::plan(self.rate_per_s, seconds, self.players)
    }
}

impl<'a> Bettors<'a> {
    /// Registers players with enough money for this number of turns.
    pub(super) async fn register(
        platform: &'a Platform,
        pace: Pace,
        turns: u32,
        output: &'a Output,
    ) -> Result<Self> {
        let gateway = platform.gateway()?;
        let each_s = pace.warm_up_s.saturating_add(pace.seconds);
        let plan = pace.plan(each_s.saturating_mul(u64::from(turns)));
        let players = load::register(&gateway, &plan, output).await;
        let players = players.with_context(|| format!("the platform {platform}"))?;
        Ok(Self { platform, gateway, players, pace, output })
    }

    /// Warms the platform up and measures an interval.
    ///
    /// # Errors
    /// When no bet was settled, or when a process of the platform cannot be read or did not run throughout.
    pub(super) async fn turn(&self) -> Result<Turn> {
        let warm_up = if self.pace.warm_up_s > 0 { Some(self.send(self.pace.warm_up_s).await) } else { None };
        let begin = Reading::of(self.platform)?;
        let tally = self.send(self.pace.seconds).await;
        let end = Reading::of(self.platform)?;
        let seconds = end.at.saturating_duration_since(begin.at);
        let report = tally.report(Some(f64::from(self.pace.rate_per_s)), seconds);
        let cpu_ms = cpu_ms(&begin.usages, &end.usages)
            .with_context(|| format!("a turn on the platform {} cannot be used", self.platform))?;
        let steal_percent = end.machine.steal_percent_since(&begin.machine);
        let turn = Turn::of(self.platform.side, &report, warm_up.as_ref(), cpu_ms, steal_percent);
        if turn.settled == 0 {
            bail!("no bet was settled on the platform {} (errors: {})", self.platform, kinds(&turn.errors));
        }
        Ok(turn)
    }

    /// Sends the bets of an interval, and returns their p50. It counts nothing else.
    pub(super) async fn p50_ms(&self) -> f64 {
        self.send(self.pace.seconds).await.latency_ms().p50
    }

    /// Folders of the platform.
    pub(super) fn layout(&self) -> &Layout {
        &self.platform.layout
    }

    async fn send(&self, seconds: u64) -> Tally {
        load::send(&self.gateway, &self.players, &self.pace.plan(seconds), self.output).await
    }
}

impl Turn {
    fn of(side: Side, report: &Report, warm_up: Option<&Tally>, cpu_ms: f64, steal_percent: f64) -> Self {
        let Report { duration_s, sent, settled, rejected, latency_ms, .. } = report;
        let mut errors = report.errors_and_refusals();
        for (kind, count) in warm_up.map(Tally::errors_and_refusals).unwrap_or_default() {
            *errors.entry(kind).or_default() += count;
        }
        Self {
            side,
            seconds: *duration_s,
            sent: *sent,
            settled: *settled,
            rejected: *rejected,
            errors,
            latency_ms: *latency_ms,
            cpu_ms,
            cpu_ms_per_bet: cpu_ms / *settled as f64,
            steal_percent,
        }
    }
}

impl Reading {
    fn of(platform: &Platform) -> Result<Self> {
        let machine = MachineTicks::read()?;
        Ok(Self { at: Instant::now(), usages: Usages::read(&platform.layout), machine })
    }
}

/// CPU time in milliseconds of each second in which nothing is sent. Both platforms are measured at the same time.
///
/// # Errors
/// When a process cannot be read, or did not run throughout.
pub(super) async fn idle_cpu_ms_per_s(
    platforms: &[Platform; 2],
    seconds: u64,
    output: &Output,
) -> Result<[f64; 2]> {
    let live = output.spinner("idle interval");
    live.set_message(format!("measuring both platforms without a load for {seconds} s"));
    let [begin_a, begin_b] = read_both(platforms)?;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let [end_a, end_b] = read_both(platforms)?;
    live.finish_and_clear();
    let per_s = |begin: &Reading, end: &Reading| {
        let cpu_ms = cpu_ms(&begin.usages, &end.usages).context("the idle interval cannot be used")?;
        anyhow::Ok(cpu_ms / end.at.saturating_duration_since(begin.at).as_secs_f64())
    };
    Ok([per_s(&begin_a, &end_a)?, per_s(&begin_b, &end_b)?])
}

fn read_both([a, b]: &[Platform; 2]) -> Result<[Reading; 2]> {
    Ok([Reading::of(a)?, Reading::of(b)?])
}

/// CPU time in milliseconds that the processes of a platform used between two readings.
///
/// # Errors
/// Those of [`Usages::cpu_ms_since`].
fn cpu_ms(begin: &Usages, end: &Usages) -> Result<f64> {
    Ok(end.cpu_ms_since(begin)?.values().sum())
}

#[cfg(test)]
mod tests {
    use runtime::os_process::ProcessId;

    use super::*;
    use crate::commands::bench::cost::usage::ProcessUsage;
    use crate::load_generator::load_report::{Kind, Outcome};

    fn usages(list: &[(&str, u64, u64)]) -> Usages {
        let usage = |start_ticks, ticks| ProcessUsage {
            process: ProcessId { pid: 7, start_ticks, boot_id: "boot".to_owned() },
            ticks,
            switches: BTreeMap::new(),
        };
        let list = list.iter().map(|(name, start, ticks)| ((*name).to_owned(), usage(*start, *ticks)));
        Usages(list.collect())
    }

    fn tally(settled: u32, late: u32) -> Tally {
        let mut tally = Tally::default();
        let kinds = (0..settled).map(|_| Kind::Settled).chain((0..late).map(|_| Kind::NotInTime));
        for kind in kinds {
            tally.add(Outcome { kind, latency: Duration::from_millis(5), trace_id: None });
        }
        tally
    }

    #[test]
    fn cpu_time_is_that_of_all_processes() {
        let begin = usages(&[("game", 1, 100), ("supervisor", 2, 50)]);
        let end = usages(&[("game", 1, 130), ("supervisor", 2, 51)]);
        assert!((cpu_ms(&begin, &end).unwrap() - 310.0).abs() < 1e-9);
    }

    #[test]
    fn process_that_did_not_run_throughout_is_refused() {
        let both = usages(&[("game", 1, 100), ("user", 2, 50)]);
        let others = [usages(&[("game", 1, 130)]), usages(&[("game", 1, 130), ("user", 3, 60)])];
        for other in &others {
            for (begin, end) in [(&both, other), (other, &both)] {
                let error = cpu_ms(begin, end).unwrap_err().to_string();
                assert_eq!(error, "user restarted, or did not run throughout");
            }
        }
        assert!(cpu_ms(&Usages::default(), &Usages::default()).is_err());
    }

    #[test]
    fn turn_counts_errors_of_its_warm_up() {
        let report = tally(40, 1).report(Some(20.0), Duration::from_secs(2));
        let turn = Turn::of(Side::B, &report, Some(&tally(5, 2)), 200.0, 0.5);
        assert_eq!((turn.sent, turn.settled), (41, 40));
        assert_eq!(turn.errors, BTreeMap::from([("not_in_time".to_owned(), 3)]));
        assert!((turn.cpu_ms_per_bet - 5.0).abs() < 1e-9);
        let mut refused = tally(1, 0);
        refused.add(Outcome { kind: Kind::Refused, latency: Duration::from_millis(1), trace_id: None });
        let report = refused.report(Some(20.0), Duration::from_secs(2));
        let turn = Turn::of(Side::A, &report, Some(&refused), 200.0, 0.5);
        assert_eq!(turn.errors, BTreeMap::from([("refused".to_owned(), 2)]));
        assert!(
            Turn::of(Side::A, &tally(1, 0).report(None, Duration::from_secs(1)), None, 1.0, 0.0)
                .errors
                .is_empty()
        );
    }
}
