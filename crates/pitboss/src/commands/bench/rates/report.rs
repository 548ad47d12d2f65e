//! The report: what the rounds say about a bet among many.

use serde::Serialize;

use crate::commands::bench::comparison::{Comparison, Figure};
use crate::commands::bench::order_statistics::Ends;
use crate::commands::bench::pace::Pace;
use crate::commands::bench::report::{Sheet, SheetReport};
use crate::commands::bench::rounds::Machine;
use crate::commands::bench::turn::{PlatformTurn, Totals};
use crate::output::counted;

/// Limit of the ratio of CPU time at ten times the rate.
const RATIO_MAX: f64 = 0.25;
/// Multiple of the rate to which it applies.
const TIMES: u32 = 10;
/// The figures that are compared.
const FIGURES: [Figure<PlatformTurn>; 3] = [
    Figure::less("cpu_ms_per_bet", "CPU ms/bet", true, |turn| turn.cpu_ms_per_bet),
    Figure::less("p50_ms", "p50 ms", false, |turn| turn.bets.latency_ms.p50),
    Figure::less("p95_ms", "p95 ms", false, |turn| turn.bets.latency_ms.p95),
];
/// Columns of the table.
const COLUMNS: &[&str] = &[
    "FIGURE",
    "LOW",
    "HIGH",
    "HIGH/LOW",
    "INTERVAL",
    "BAD END",
    "LOW/LOW",
    "ITS INTERVAL",
    "HIGH/HIGH",
    "ITS INTERVAL",
];

/// Measured rounds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measured {
    /// Release of the services, if `up` recorded it.
    pub(super) release: Option<String>,
    /// Load at the low rate.
    #[serde(flatten)]
    pub(super) pace: Pace,
    /// The high rate, as a multiple of it.
    pub(super) times: u32,
    #[serde(flatten)]
    pub(super) machine: Machine,
    /// All turns, as low, high, high, low.
    pub(super) rounds: Vec<[PlatformTurn; 4]>,
}

/// Result of the benchmark, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    bench: &'static str,
    #[serde(flatten)]
    measured: Measured,
    /// Probability with which each interval contains the median of its ratios.
    coverage_percent: f64,
    /// Limit of the ratio of CPU time. Absent for another multiple than 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio_max: Option<f64>,
    comparisons: Vec<Comparison>,
}

impl Report {
    /// Compares the turns of all rounds, of which there has to be at least one.
    pub(super) fn of(measured: Measured) -> Self {
        Self {
            bench: super::NAME,
            coverage_percent: Ends::of(measured.rounds.len()).coverage * 100.0,
            ratio_max: (measured.times == TIMES).then_some(RATIO_MAX),
            comparisons: Comparison::all(&FIGURES, &measured.rounds),
            measured,
        }
    }

    /// Bets of all turns.
    fn totals(&self) -> Totals {
        Totals::of(self.measured.rounds.iter().flatten().map(|turn| &turn.bets))
    }

    /// Lines about the bets and the machine.
    fn circumstances(&self) -> Vec<String> {
        let Measured { release, pace, times, machine, rounds } = &self.measured;
        let mut lines = vec![
            format!(
                "{} low, high, high, low: each turn {pace}, or {times} times as many, {} players",
                counted(rounds.len(), "round"),
                pace.players
            ),
            self.totals().to_string(),
        ];
        lines.extend(
            self.ratio_max
                .map(|max| format!("goal: the bad end of the ratio of CPU ms/bet is at most {max}")),
        );
        lines.push(machine.to_string());
        lines.push(format!("release: {}", release.as_deref().unwrap_or("unknown")));
        lines
    }
}

impl SheetReport for Report {
    fn sheet(&self) -> Sheet {
        let intervals = Ends::explanation(self.measured.rounds.len());
        Sheet {
            circumstances: self.circumstances(),
            grids: vec![Comparison::grid(&self.comparisons, COLUMNS)],
            charts: Comparison::charts(
                Comparison::limited(&self.comparisons),
                ["high/low", "low/low"],
                |_| self.ratio_max,
            ),
            explanation: format!(
                "Ratios are medians of one a round. {intervals} Bad end: the upper end for high/low. CPU ms/bet contains what the platform uses without bets."
            ),
        }
    }

    fn values(&self) -> usize {
        self.measured.rounds.len()
    }

    /// Says why the figures are not those of the requested bets. `None` if they are.
    fn own_doubt(&self) -> Option<String> {
        self.totals().problem()
    }

    fn missed(&self) -> Option<String> {
        Comparison::problem(&self.comparisons, self.ratio_max?, "high/low")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::bench::report::BenchReport as _;
    use crate::commands::bench::turn::tests::platform_turn;

    /// Rounds in which a bet costs 40 ms at the low rate, and this much at the high one.
    fn report(times: u32, high_ms: &[f64]) -> Report {
        let round = |high_ms: &f64| {
            let (low, high) = (platform_turn(10.0, 40.0), platform_turn(20.0, *high_ms));
            [low.clone(), high.clone(), high, low]
        };
        Report::of(Measured {
            release: None,
            pace: Pace { rate_per_s: 5, seconds: 20, warm_up_s: 3, players: 50 },
            times,
            machine: Machine { fsync_ms: 1.25, steal_percent: 0.5 },
            rounds: high_ms.iter().map(round).collect(),
        })
    }

    #[test]
    fn limit_applies_to_ten_times_the_rate() {
        assert_eq!(report(10, &[8.0, 10.0, 9.0, 9.0, 9.0, 9.0]).problem(), None);
        let problem = report(10, &[8.0, 12.0, 9.0, 9.0, 9.0, 9.0]).problem();
        let expected = "the bad end of high/low is beyond its limit: CPU ms/bet 0.300 (at most 0.25)";
        assert_eq!(problem.as_deref(), Some(expected));
        assert_eq!(report(5, &[8.0, 12.0, 9.0, 9.0, 9.0, 9.0]).problem(), None, "no goal is known for it");
    }

    #[test]
    fn too_few_rounds_are_a_doubt() {
        for times in [10, 5] {
            let doubt = report(times, &[8.0; 5]).doubt();
            assert!(doubt.is_some_and(|doubt| doubt.contains("needs at least 6")), "{times}");
        }
    }

    #[test]
    fn late_bet_is_a_doubt() {
        let mut measured = report(10, &[8.0; 2]).measured;
        measured.rounds[1][3].bets.errors.insert("not_in_time".to_owned(), 2);
        let report = Report::of(measured);
        assert_eq!(report.doubt().as_deref(), Some("2 bets were not answered with 200: not_in_time 2"));
    }

    #[test]
    fn page_and_json_have_the_ratio() {
        let report = report(10, &[8.0; 7]);
        let page = report.to_markdown();
        for line in [
            "- 7 rounds low, high, high, low: each turn 5 bets/s for 20 s after 3 s of warm-up, or 10 times as many, 50 players",
            "- goal: the bad end of the ratio of CPU ms/bet is at most 0.25",
            "CPU ms/bet in each round: blue is high/low, grey is low/low, red is the goal (at most 0.25).",
            "| CPU ms/bet | 40.00 | 8.00 | 0.200 | 0.200–0.200 | 0.200 | 1.000 | 1.000–1.000 | 1.000 | 1.000–1.000 |",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        let json = serde_json::to_value(report).unwrap();
        assert_eq!(json["bench"], "rates");
        assert_eq!(json["times"], 10);
        assert_eq!(json["comparisons"][0]["b_over_a"]["median"], 0.2);
    }
}
