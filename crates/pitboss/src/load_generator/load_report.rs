//! Counts outcomes and builds the report of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::losses::Losses;

/// Latencies are recorded with three digits, from 1 µs to 2 minutes.
const LATENCY_MAX_US: u64 = 120_000_000;

/// Result of a bet, as the driver saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// 200 with a settled bet.
    Settled,
    /// 200 with a bet that was rejected for a business reason. This is not an error.
    Rejected,
    /// 503 because the platform is overloaded: refused early and without an effect. This is not an error.
    Refused,
    /// 202: accepted, but not settled within the gateway's time.
    NotInTime,
    /// 200 with a body that is not a bet.
    Malformed,
    /// Another HTTP status.
    Status(u16),
    /// No answer within the call's deadline.
    Timeout,
    /// The connection was refused.
    Connect,
    /// The connection broke.
    Broken,
    /// Never sent, because too many bets were in flight.
    NotSent,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settled => f.write_str("settled"),
            Self::Rejected => f.write_str("rejected"),
            Self::Refused => f.write_str("refused"),
            Self::NotInTime => f.write_str("not_in_time"),
            Self::Malformed => f.write_str("malformed"),
            Self::Status(status) => write!(f, "http_{status}"),
            Self::Timeout => f.write_str("timeout"),
            Self::Connect => f.write_str("connect"),
            Self::Broken => f.write_str("broken"),
            Self::NotSent => f.write_str("not_sent"),
        }
    }
}

/// Result of one bet.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Kind of result.
    pub kind: Kind,
    /// Time from the intended sending to the complete answer.
    pub latency: Duration,
    /// Trace of the bet, if there was an answer.
    pub trace_id: Option<String>,
}

/// Counters of a run in progress.
pub struct Tally {
    latency_us: Histogram<u64>,
    kinds: BTreeMap<Kind, u64>,
    /// Traces of the settled bets, to be checked in the recorder.
    pub trace_ids: Vec<String>,
}

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LatencyMs {
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Maximum.
    pub max: f64,
}

/// State of the settled bets' traces.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Traces {
    /// Settled bets that named a trace.
    pub answered: usize,
    /// Those of them that are complete in the recorder: one root, no orphan, every edge of one bet.
    pub complete: usize,
    /// The first incomplete traces, with a defect of each.
    pub first_defects: Vec<String>,
    /// Losses of the senders during the load.
    #[serde(flatten)]
    pub losses: Losses,
}

/// Bets before the measurement. Their errors count as the run's do, but their latencies are separate.
#[derive(Clone, Debug, Serialize)]
pub struct WarmUp {
    /// Duration of the warm-up.
    pub duration_s: f64,
    /// Bets that were to be sent.
    pub sent: u64,
    /// Bets that were settled in time.
    pub settled: u64,
    /// Bets that were refused because the platform was overloaded.
    pub refused: u64,
    /// Bets that were neither settled nor rejected nor refused, by kind.
    pub errors: BTreeMap<String, u64>,
    /// Latencies, as in the report.
    pub latency_ms: LatencyMs,
}

impl From<Report> for WarmUp {
    fn from(report: Report) -> Self {
        let Report { duration_s, sent, settled, refused, errors, latency_ms, .. } = report;
        Self { duration_s, sent, settled, refused, errors, latency_ms }
    }
}

/// The report of a run, as `--json` prints it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Requested rate. Absent when each player sent one bet after the other.
    pub rate_per_s: Option<f64>,
    /// Time for which bets were sent.
    pub duration_s: f64,
    /// Settled bets a second.
    pub settled_per_s: f64,
    /// Bets that were to be sent.
    pub sent: u64,
    /// Bets that were settled in time.
    pub settled: u64,
    /// Bets that were rejected for a business reason.
    pub rejected: u64,
    /// Bets that were refused because the platform was overloaded. They had no effect.
    pub refused: u64,
    /// All others by kind.
    pub errors: BTreeMap<String, u64>,
    /// Time from the intended sending to the complete answer, without refused bets.
    pub latency_ms: LatencyMs,
    /// Present if there was a warm-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warm_up: Option<WarmUp>,
    /// Peak resident memory (VmHWM) of each part after the run.
    pub memory_bytes: BTreeMap<String, u64>,
    /// Present unless the check was disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traces: Option<Traces>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            // Three digits and this maximum are a valid pair of arguments, and `new` cannot fail either.
            latency_us: Histogram::new_with_max(LATENCY_MAX_US, 3)
                .unwrap_or_else(|_| Histogram::<u64>::new(3).expect("3 digits")),
            kinds: BTreeMap::new(),
            trace_ids: Vec::new(),
        }
    }
}

impl Tally {
    /// Counts one outcome.
    pub fn add(&mut self, outcome: Outcome) {
        let latency_us = u64::try_from(outcome.latency.as_micros()).unwrap_or(LATENCY_MAX_US);
        // A refusal is fast, so it would hide how long the accepted bets take.
        if outcome.kind != Kind::Refused {
            self.latency_us.saturating_record(latency_us.min(LATENCY_MAX_US));
        }
        *self.kinds.entry(outcome.kind).or_default() += 1;
        if outcome.kind == Kind::Settled {
            self.trace_ids.extend(outcome.trace_id);
        }
    }

    /// Number of bets that have ended.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.kinds.values().sum()
    }

    /// Number of bets that were refused because the platform was overloaded.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.count(Kind::Refused)
    }

    /// Number of bets that were neither settled nor rejected nor refused, by kind.
    #[must_use]
    pub fn errors(&self) -> BTreeMap<String, u64> {
        let fine = [Kind::Settled, Kind::Rejected, Kind::Refused];
        self.kinds
            .iter()
            .filter(|(kind, _)| !fine.contains(kind))
            .map(|(kind, n)| (kind.to_string(), *n))
            .collect()
    }

    /// Errors and refusals by kind, for a measurement that needs every bet.
    #[must_use]
    pub fn errors_and_refusals(&self) -> BTreeMap<String, u64> {
        and_refusals(self.errors(), self.refused())
    }

    /// Percentiles so far.
    #[must_use]
    pub fn latency_ms(&self) -> LatencyMs {
        let at = |quantile| self.latency_us.value_at_quantile(quantile) as f64 / 1000.0;
        LatencyMs { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: self.latency_us.max() as f64 / 1000.0 }
    }

    /// The line that is shown during the run.
    #[must_use]
    pub fn live_line(&self) -> String {
        let latency = self.latency_ms();
        let errors: u64 = self.errors().values().sum();
        format!(
            "{} bets · p50 {:.1} ms · p95 {:.1} ms · p99 {:.1} ms · max {:.0} ms · {} refused · {errors} errors",
            self.ended(),
            latency.p50,
            latency.p95,
            latency.p99,
            latency.max,
            self.refused()
        )
    }

    /// The report, without memory and traces.
    #[must_use]
    pub fn report(&self, rate_per_s: Option<f64>, took: Duration) -> Report {
        Report {
            rate_per_s,
            duration_s: took.as_secs_f64(),
            settled_per_s: self.count(Kind::Settled) as f64 / took.as_secs_f64(),
            sent: self.ended(),
            settled: self.count(Kind::Settled),
            rejected: self.count(Kind::Rejected),
            refused: self.refused(),
            errors: self.errors(),
            latency_ms: self.latency_ms(),
            warm_up: None,
            memory_bytes: BTreeMap::new(),
            traces: None,
        }
    }

    /// Number of bets that ended in this way.
    #[must_use]
    pub fn count(&self, kind: Kind) -> u64 {
        self.kinds.get(&kind).copied().unwrap_or(0)
    }
}

impl Report {
    /// Returns `true` if every bet that was not refused was answered with a result, at least one was, and every settled bet's trace
    /// is complete, with no losses.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.sent > self.refused
            && self.errors.is_empty()
            && self.warm_up.as_ref().is_none_or(|warm_up| warm_up.errors.is_empty())
            && self.traces.as_ref().is_none_or(|traces| self.all_traced(traces))
    }

    /// Errors and refusals by kind, for a measurement that needs every bet.
    #[must_use]
    pub fn errors_and_refusals(&self) -> BTreeMap<String, u64> {
        and_refusals(self.errors.clone(), self.refused)
    }

    /// Every settled bet must have named its trace. There must be one, because no traces at all would count as complete.
    fn all_traced(&self, traces: &Traces) -> bool {
        let settled = self.all_settled();
        settled > 0
            && traces.answered as u64 == settled
            && traces.complete == traces.answered
            && traces.losses.is_empty()
    }

    /// Settled bets, including those of the warm-up.
    fn all_settled(&self) -> u64 {
        self.settled + self.warm_up.as_ref().map_or(0, |warm_up| warm_up.settled)
    }
}

fn and_refusals(mut errors: BTreeMap<String, u64>, refused: u64) -> BTreeMap<String, u64> {
    if refused > 0 {
        errors.insert(Kind::Refused.to_string(), refused);
    }
    errors
}

impl fmt::Display for LatencyMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p95, p99, max } = self;
        write!(f, "p50 {p50:.1} ms · p95 {p95:.1} ms · p99 {p99:.1} ms · max {max:.1} ms")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate =
            self.rate_per_s.map_or_else(|| "at full speed".to_owned(), |r| format!("requested: {r}/s"));
        writeln!(
            f,
            "{} bets in {:.1} s ({rate}), {:.1} settled/s",
            self.sent, self.duration_s, self.settled_per_s
        )?;
        writeln!(f, "latency from the scheduled send time: {}", self.latency_ms)?;
        let Self { settled, rejected, refused, .. } = self;
        write!(f, "settled {settled} · rejected {rejected} · refused in overload {refused} · errors ")?;
        if self.errors.is_empty() {
            writeln!(f, "none")?;
        }
        for (kind, count) in &self.errors {
            writeln!(f, "{kind} {count}  ")?;
        }
        if let Some(WarmUp { duration_s, sent, refused, errors, latency_ms, .. }) = &self.warm_up {
            write!(
                f,
                "warm-up: {sent} bets in {duration_s:.0} s: {latency_ms} · refused {refused} · errors "
            )?;
            let list: Vec<String> = errors.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
            writeln!(f, "{}", if list.is_empty() { "none".to_owned() } else { list.join("  ") })?;
        }
        if let Some(traces) = &self.traces {
            let settled = self.all_settled();
            writeln!(f, "traces complete in the recorder: {} of {settled}", traces.complete)?;
            if traces.answered as u64 != settled {
                writeln!(f, "  settled bets that named a trace: {}", traces.answered)?;
            }
            for defect in &traces.first_defects {
                writeln!(f, "  {defect}")?;
            }
            for (reason, count) in &traces.losses.client_reports {
                writeln!(f, "  reported as lost: {reason} {count}")?;
            }
            for (reason, count) in &traces.losses.drops {
                writeln!(f, "  counted as lost: {reason} {count}")?;
            }
        }
        for (part, bytes) in &self.memory_bytes {
            writeln!(f, "  {part:<14} peak {:>7.1} MiB", *bytes as f64 / 1_048_576.0)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(kind: Kind, latency_ms: u64) -> Outcome {
        Outcome { kind, latency: Duration::from_millis(latency_ms), trace_id: Some("t".into()) }
    }

    #[test]
    fn run_with_an_error_fails_and_counts_it_by_kind() {
        let mut tally = Tally::default();
        for ms in 1..=99 {
            tally.add(outcome(Kind::Settled, ms));
        }
        assert!(tally.report(None, Duration::from_secs(1)).holds());
        tally.add(outcome(Kind::Status(503), 500));
        let report = tally.report(Some(100.0), Duration::from_secs(1));
        assert_eq!(report.errors, BTreeMap::from([("http_503".to_owned(), 1)]));
        assert!(!report.holds());
        assert!((report.latency_ms.p50 - 50.0).abs() < 1.0, "{:?}", report.latency_ms);
        assert!((report.latency_ms.max - 500.0).abs() < 1.0, "{:?}", report.latency_ms);
    }

    #[test]
    fn refused_bet_is_no_error_and_no_latency() {
        let mut tally = Tally::default();
        tally.add(outcome(Kind::Refused, 1));
        assert!(!tally.report(None, Duration::from_secs(1)).holds(), "no bet was accepted");
        tally.add(outcome(Kind::Settled, 40));
        let report = tally.report(Some(2.0), Duration::from_secs(1));
        assert!(report.holds(), "{report}");
        assert_eq!((report.sent, report.settled, report.refused), (2, 1, 1));
        assert!((report.latency_ms.p50 - 40.0).abs() < 1.0, "{:?}", report.latency_ms);
        assert!(report.to_string().contains("refused in overload 1"), "{report}");
        assert!(tally.live_line().contains("1 refused"), "{}", tally.live_line());
    }

    #[test]
    fn warm_up_error_fails_run() {
        let mut warmed = Tally::default();
        warmed.add(outcome(Kind::Settled, 900));
        let mut tally = Tally::default();
        tally.add(outcome(Kind::Settled, 5));
        let mut report = tally.report(Some(100.0), Duration::from_secs(1));
        report.warm_up = Some(warmed.report(Some(100.0), Duration::from_secs(1)).into());
        assert!(report.holds() && report.latency_ms.max < 10.0, "{report:?}");
        assert!(report.to_string().contains("warm-up: 1 bets in 1 s"), "{report}");
        warmed.add(outcome(Kind::NotInTime, 2_000));
        report.warm_up = Some(warmed.report(Some(100.0), Duration::from_secs(1)).into());
        assert!(!report.holds());
    }

    #[test]
    fn run_without_bets_fails() {
        assert!(!Tally::default().report(None, Duration::from_secs(1)).holds());
    }

    /// Report of `settled` settled bets with these traces.
    fn report(settled: usize, traces: Traces) -> Report {
        let mut tally = Tally::default();
        for _ in 0..settled {
            tally.add(outcome(Kind::Settled, 5));
        }
        tally.add(outcome(Kind::Rejected, 5));
        let mut report = tally.report(None, Duration::from_secs(1));
        report.traces = Some(traces);
        report
    }

    fn traces(answered: usize, complete: usize) -> Traces {
        Traces { answered, complete, ..Traces::default() }
    }

    #[test]
    fn every_settled_bet_needs_a_complete_trace() {
        assert!(report(2, traces(2, 2)).holds());
        assert!(!report(2, traces(2, 1)).holds(), "one is incomplete");
        assert!(!report(2, traces(1, 1)).holds(), "one named no trace");
        assert!(!report(2, traces(0, 0)).holds(), "none named a trace");
        assert!(!report(0, traces(0, 0)).holds(), "no bet was settled");
        let mut warmed = report(2, traces(2, 2));
        warmed.warm_up = Some(report(1, traces(1, 1)).into());
        assert!(!warmed.holds(), "the warm-up's bet named no trace");
        assert!(warmed.to_string().contains("2 of 3"), "{warmed}");
        warmed.traces = Some(traces(3, 3));
        assert!(warmed.holds(), "{warmed}");
    }

    #[test]
    fn lost_telemetry_fails_run() {
        let lost = || BTreeMap::from([("game queue_overflow span".to_owned(), 3)]);
        let reported = [
            Losses { client_reports: lost(), ..Losses::default() },
            Losses { drops: lost(), ..Losses::default() },
        ];
        for losses in reported {
            let report = report(1, Traces { losses, ..traces(1, 1) });
            assert!(!report.holds(), "{report}");
            assert!(report.to_string().contains("lost: game queue_overflow span 3"), "{report}");
        }
    }
}
