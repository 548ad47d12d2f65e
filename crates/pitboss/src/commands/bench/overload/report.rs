//! The report of `bench overload`: each phase, and the three figures with their limits.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::cost::grid::Grid;
use super::super::cost::report::kinds;
use super::super::report::BenchReport;
use crate::load_generator::load_report::{Kind, LatencyMs, Tally};

/// Limit of the p99 of accepted bets above saturation, as a multiple of that below.
const P99_RATIO_MAX: f64 = 2.0;
/// Least rate of settled bets above saturation, as a share of that at saturation.
const GOODPUT_RATIO_MIN: f64 = 0.9;
/// Time in which the rate of accepted bets has to fall to that at saturation, in seconds.
const FALL_BACK_S_MAX: usize = 5;
/// While more bets a second are accepted than this multiple of the saturation, their rate has not fallen yet.
const ACCEPTED_RATIO_MAX: f64 = 1.25;
/// Seconds over which that rate is measured, because it varies from one second to the next.
const ACCEPTED_WINDOW_S: usize = 3;
/// Columns of the table of phases.
const PHASES: &[&str] = &["PHASE", "BETS/S", "SETTLED/S", "P50 MS", "P99 MS", "REFUSED", "ERRORS"];

/// Bets at one rate.
#[derive(Debug, Serialize)]
pub(super) struct Phase {
    rate_per_s: u32,
    seconds: u64,
    pub(super) sent: u64,
    pub(super) settled: u64,
    /// Bets that were settled while the phase lasted, a second.
    pub(super) settled_per_s: f64,
    refused: u64,
    /// Accepted bets without a result in time, and failures, by kind.
    pub(super) errors: BTreeMap<String, u64>,
    /// Without the refused bets.
    latency_ms: LatencyMs,
    /// Bets that were not refused, by the second in which they were sent.
    accepted_by_s: Vec<u64>,
}

/// Result of the benchmark, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    bench: &'static str,
    players: u16,
    /// Highest rate of settled bets in the search.
    saturation_per_s: f64,
    steps: Vec<Phase>,
    below: Phase,
    above: Phase,
    p99_ratio: f64,
    p99_ratio_max: f64,
    goodput_ratio: f64,
    goodput_ratio_min: f64,
    /// Second of the last phase from which on, over three seconds, no more bets were accepted than at saturation.
    fall_back_s: usize,
    fall_back_s_max: usize,
}

impl Phase {
    pub(super) fn of(
        rate_per_s: u32,
        seconds: u64,
        tally: &Tally,
        settled_within: u64,
        accepted_by_s: Vec<u64>,
    ) -> Self {
        Self {
            rate_per_s,
            seconds,
            sent: tally.ended(),
            settled: tally.count(Kind::Settled),
            settled_per_s: settled_within as f64 / seconds.max(1) as f64,
            refused: tally.refused(),
            errors: tally.errors(),
            latency_ms: tally.latency_ms(),
            accepted_by_s,
        }
    }

    fn row(&self, name: String) -> Vec<String> {
        let LatencyMs { p50, p99, .. } = self.latency_ms;
        vec![
            name,
            self.rate_per_s.to_string(),
            format!("{:.1}", self.settled_per_s),
            format!("{p50:.1}"),
            format!("{p99:.1}"),
            self.refused.to_string(),
            kinds(&self.errors),
        ]
    }
}

impl Report {
    pub(super) fn of(
        players: u16,
        saturation_per_s: f64,
        steps: Vec<Phase>,
        below: Phase,
        above: Phase,
    ) -> Self {
        let accepted_max = saturation_per_s * ACCEPTED_RATIO_MAX;
        let is_above =
            |window: &[u64]| window.iter().sum::<u64>() as f64 > accepted_max * ACCEPTED_WINDOW_S as f64;
        let last = above.accepted_by_s.windows(ACCEPTED_WINDOW_S).rposition(is_above);
        Self {
            bench: "overload",
            players,
            saturation_per_s,
            p99_ratio: above.latency_ms.p99 / below.latency_ms.p99,
            p99_ratio_max: P99_RATIO_MAX,
            goodput_ratio: above.settled_per_s / saturation_per_s,
            goodput_ratio_min: GOODPUT_RATIO_MIN,
            fall_back_s: last.map_or(0, |second| second + ACCEPTED_WINDOW_S),
            fall_back_s_max: FALL_BACK_S_MAX,
            steps,
            below,
            above,
        }
    }
}

impl BenchReport for Report {
    /// Says what is not within its limit. `None` if all is.
    fn problem(&self) -> Option<String> {
        let Self { p99_ratio, goodput_ratio, fall_back_s, .. } = self;
        let mut problems = Vec::new();
        // A quotient without a value is not within its limit either.
        if p99_ratio.is_nan() || *p99_ratio > P99_RATIO_MAX {
            problems.push(format!(
                "p99 of accepted bets is {p99_ratio:.2} times that below saturation (at most {P99_RATIO_MAX})"
            ));
        }
        if goodput_ratio.is_nan() || *goodput_ratio < GOODPUT_RATIO_MIN {
            problems.push(format!(
                "goodput is {goodput_ratio:.2} of that at saturation (at least {GOODPUT_RATIO_MIN})"
            ));
        }
        if *fall_back_s > FALL_BACK_S_MAX {
            problems.push(format!(
                "the rate of accepted bets fell to saturation's after {fall_back_s} s (at most {FALL_BACK_S_MAX})"
            ));
        }
        if !self.above.errors.is_empty() {
            problems.push(format!("accepted bets without a result in time: {}", kinds(&self.above.errors)));
        }
        // Late bets below saturation would raise the p99 with which the one above is compared.
        if !self.below.errors.is_empty() {
            problems.push(format!(
                "bets below saturation without a result in time: {}",
                kinds(&self.below.errors)
            ));
        }
        (!problems.is_empty()).then(|| problems.join(", "))
    }

    fn to_text(&self, columns: usize) -> String {
        let steps = self.steps.iter().map(|step| step.row("search".to_owned()));
        let measured = [self.below.row("below".to_owned()), self.above.row("above".to_owned())];
        let grid = Grid { header: PHASES, text_columns: 1, rows: steps.chain(measured).collect() };
        let Self { players, saturation_per_s, p99_ratio, goodput_ratio, fall_back_s, .. } = self;
        format!(
            "{}\n\nsaturation: {saturation_per_s:.1} settled bets/s ({players} players)\n\
             p99 of accepted bets, above / below: {p99_ratio:.2} (at most {P99_RATIO_MAX})\n\
             goodput, above / saturation: {goodput_ratio:.2} (at least {GOODPUT_RATIO_MIN})\n\
             the rate of accepted bets fell to saturation's after {fall_back_s} s (at most {FALL_BACK_S_MAX})\n",
            grid.to_text(columns)
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load_generator::load_report::Outcome;

    /// A phase of ten seconds in which bets take 20 ms, or this time.
    fn phase(settled: u32, refused: u32, latency_ms: u64, accepted_by_s: Vec<u64>) -> Phase {
        let mut tally = Tally::default();
        let kinds = (0..settled).map(|_| Kind::Settled).chain((0..refused).map(|_| Kind::Refused));
        for kind in kinds {
            tally.add(Outcome { kind, latency: Duration::from_millis(latency_ms), trace_id: None });
        }
        Phase::of(100, 10, &tally, u64::from(settled), accepted_by_s)
    }

    fn report(above: Phase) -> Report {
        Report::of(50, 100.0, vec![phase(1_000, 50, 90, vec![])], phase(800, 0, 20, vec![]), above)
    }

    #[test]
    fn fast_bets_at_the_rate_of_saturation_hold() {
        // One second with many bets among others is noise.
        let accepted = vec![200, 130, 90, 110, 100, 100, 140, 100, 100, 100];
        let report = report(phase(950, 900, 39, accepted));
        assert_eq!(report.problem(), None);
        assert_eq!(report.fall_back_s, 3);
        let text = report.to_text(160);
        for part in ["saturation: 100.0 settled bets/s", "below", "above", "search", "900", "after 3 s"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn each_limit_is_checked() {
        let steady = || vec![100; 10];
        for (above, expected) in [
            (phase(950, 900, 50, steady()), "p99 of accepted bets is 2.5"),
            (phase(850, 900, 30, steady()), "goodput is 0.85"),
            (phase(950, 900, 30, vec![200; 10]), "after 10 s"),
            (phase(0, 900, 30, steady()), "goodput is 0.00"),
        ] {
            let problem = report(above).problem().expect("a problem");
            assert!(problem.contains(expected), "{problem}");
        }
        let mut late = phase(950, 0, 30, steady());
        late.errors.insert("not_in_time".to_owned(), 3);
        let problem = report(late).problem().expect("a problem");
        assert_eq!(problem, "accepted bets without a result in time: not_in_time 3");
        let mut slow_below = report(phase(950, 900, 39, steady()));
        slow_below.below.errors.insert("not_in_time".to_owned(), 2);
        let problem = slow_below.problem().expect("a problem");
        assert_eq!(problem, "bets below saturation without a result in time: not_in_time 2");
    }

    /// Otherwise the backlog of a short step would make the saturation too high, and the goodput above it too low.
    #[test]
    fn backlog_behind_a_phase_is_no_rate() {
        let mut tally = Tally::default();
        for _ in 0..1_200 {
            let latency = Duration::from_millis(20);
            tally.add(Outcome { kind: Kind::Settled, latency, trace_id: None });
        }
        let phase = Phase::of(150, 10, &tally, 1_000, vec![]);
        assert_eq!((phase.settled, phase.settled_per_s), (1_200, 100.0));
    }
}
