//! The report: what the rounds say about bets under the flood.

use serde::Serialize;

use super::Turn;
use super::answers::Answers;
use crate::commands::bench::comparison::{Comparison, Figure};
use crate::commands::bench::cost::grid::Grid;
use crate::commands::bench::order_statistics::Ends;
use crate::commands::bench::pace::Pace;
use crate::commands::bench::report::{Sheet, SheetReport};
use crate::commands::bench::rounds::Machine;
use crate::commands::bench::turn::Totals;
use crate::output::counted;

/// Limit of the median ratio of p95.
const P95_RATIO_MAX: f64 = 1.5;
/// The figures that are compared. The limit applies to the second.
const FIGURES: [Figure<Turn>; 4] = [
    Figure::less("p50_ms", "p50 ms", false, |turn| turn.measured.bets.latency_ms.p50),
    Figure::less("p95_ms", "p95 ms", true, |turn| turn.measured.bets.latency_ms.p95),
    Figure::less("p99_ms", "p99 ms", false, |turn| turn.measured.bets.latency_ms.p99),
    Figure::less("cpu_ms_per_bet", "CPU ms/bet", false, |turn| turn.measured.cpu_ms_per_bet),
];
/// Columns of the table of figures.
const COLUMNS: &[&str] = &[
    "FIGURE",
    "WITHOUT",
    "WITH",
    "WITH/WITHOUT",
    "INTERVAL",
    "BAD END",
    "WITHOUT/WITHOUT",
    "ITS INTERVAL",
    "WITH/WITH",
    "ITS INTERVAL",
];
/// Columns of the table of rounds.
const ROUNDS: &[&str] =
    &["P95 MS", "WITHOUT", "WITH", "WITH AGAIN", "WITHOUT AGAIN", "WITH/WITHOUT", "WITHOUT/WITHOUT"];

/// Measured rounds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measured {
    /// Release of the services, if `up` recorded it.
    pub(super) release: Option<String>,
    #[serde(flatten)]
    pub(super) pace: Pace,
    /// Log-ins a second of the flood.
    pub(super) flood_rate_per_s: u32,
    /// Largest number of its connections with a log-in.
    pub(super) connections_max: usize,
    #[serde(flatten)]
    pub(super) machine: Machine,
    /// All turns, as without, with, with, without the flood.
    pub(super) rounds: Vec<[Turn; 4]>,
}

/// Result of the benchmark, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    bench: &'static str,
    #[serde(flatten)]
    measured: Measured,
    /// Log-ins of all intervals.
    log_ins: Answers,
    /// Probability with which each interval contains the median of its ratios.
    coverage_percent: f64,
    /// Median of the ratios of p95.
    p95_ratio: f64,
    p95_ratio_max: f64,
    comparisons: Vec<Comparison>,
}

impl Report {
    /// Compares the turns of all rounds, of which there has to be at least one.
    pub(super) fn of(measured: Measured) -> Self {
        let comparisons = Comparison::all(&FIGURES, &measured.rounds);
        let limited = comparisons.iter().find(|comparison| comparison.is_limited);
        Self {
            bench: super::NAME,
            log_ins: Answers::sum(measured.rounds.iter().flatten().filter_map(|turn| turn.log_ins.as_ref())),
            coverage_percent: Ends::of(measured.rounds.len()).coverage * 100.0,
            p95_ratio: limited.map_or(f64::NAN, |p95| p95.b_over_a.estimate.median),
            p95_ratio_max: P95_RATIO_MAX,
            comparisons,
            measured,
        }
    }

    /// Bets of all turns.
    fn totals(&self) -> Totals {
        Totals::of(self.measured.rounds.iter().flatten().map(|turn| &turn.measured.bets))
    }

    /// Lines about the bets, the flood and the machine.
    fn circumstances(&self) -> Vec<String> {
        let Measured { release, pace, flood_rate_per_s, connections_max, machine, rounds } = &self.measured;
        vec![
            format!(
                "{} without, with, with, without the flood, each turn {pace}, {} players",
                counted(rounds.len(), "round"),
                pace.players
            ),
            self.totals().to_string(),
            format!(
                "the flood: {flood_rate_per_s} log-ins/s, at most {connections_max} at the same time: {}",
                self.log_ins
            ),
            format!(
                "p95 of bets, with / without the flood: median {:.2} (at most {P95_RATIO_MAX})",
                self.p95_ratio
            ),
            machine.to_string(),
            format!("release: {}", release.as_deref().unwrap_or("unknown")),
        ]
    }

    /// The p95 of each round.
    fn rounds(&self) -> Grid {
        let p95 = self.comparisons.iter().find(|comparison| comparison.is_limited);
        let ratio = |ratios: Option<&f64>| ratios.map_or_else(String::new, |ratio| format!("{ratio:.3}"));
        let rows = self.measured.rounds.iter().enumerate().map(|(index, turns)| {
            let mut row = vec![format!("round {}", index + 1)];
            row.extend(turns.each_ref().map(|turn| format!("{:.1}", turn.measured.bets.latency_ms.p95)));
            row.push(ratio(p95.and_then(|p95| p95.b_over_a.rounds.get(index))));
            row.push(ratio(p95.and_then(|p95| p95.a_over_a.rounds.get(index))));
            row
        });
        Grid { header: ROUNDS, text_columns: 1, rows: rows.collect() }
    }

    /// Explains the ratios and their intervals.
    fn explanation(&self) -> String {
        let intervals = Ends::explanation(self.measured.rounds.len());
        format!(
            "Ratios are medians of one a round. {intervals} Bad end: the upper end for with/without. Without/without is the second turn without the flood divided by the first: what the machine alone changes."
        )
    }
}

impl SheetReport for Report {
    fn sheet(&self) -> Sheet {
        let figures = Comparison::grid(&self.comparisons, COLUMNS);
        Sheet {
            circumstances: self.circumstances(),
            grids: vec![figures, self.rounds()],
            charts: Comparison::charts(
                Comparison::limited(&self.comparisons),
                ["with/without", "without/without"],
                |_| Some(P95_RATIO_MAX),
            ),
            explanation: self.explanation(),
        }
    }

    fn values(&self) -> usize {
        self.measured.rounds.len()
    }

    /// Says why the figures are not those of the requested bets and the requested flood. `None` if they are.
    fn own_doubt(&self) -> Option<String> {
        self.totals().problem().or_else(|| self.log_ins.problem())
    }

    fn missed(&self) -> Option<String> {
        let ratio = self.p95_ratio;
        // A quotient without a value is not within the limit either.
        let exceeds = ratio.is_nan() || ratio > P95_RATIO_MAX;
        exceeds.then(|| {
            format!(
                "p95 of bets under the flood is {ratio:.2} times that without it (at most {P95_RATIO_MAX})"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::bench::report::BenchReport as _;
    use crate::commands::bench::turn::tests::platform_turn;

    /// A round whose turns have these p95.
    fn round(p95_ms: [f64; 4]) -> [Turn; 4] {
        let [a1, b1, b2, a2] = p95_ms;
        let turn = |p95_ms: f64, log_ins| Turn { measured: platform_turn(p95_ms / 2.0, 10.0), log_ins };
        let answers = || Some(Answers { sent: 1_500, wrong: 30, limited: 1_470, ..Answers::default() });
        [turn(a1, None), turn(b1, answers()), turn(b2, answers()), turn(a2, None)]
    }

    fn report(rounds: Vec<[Turn; 4]>) -> Report {
        Report::of(Measured {
            release: None,
            pace: Pace { rate_per_s: 25, seconds: 15, warm_up_s: 3, players: 50 },
            flood_rate_per_s: 100,
            connections_max: 32,
            machine: Machine { fsync_ms: 1.25, steal_percent: 0.5 },
            rounds,
        })
    }

    /// The ratios of these six rounds are 1.75, 0.5 and 1.25, and the same again.
    fn rounds() -> Vec<[Turn; 4]> {
        let three = vec![
            round([40.0, 60.0, 80.0, 40.0]),
            round([80.0, 40.0, 40.0, 80.0]),
            round([40.0, 50.0, 50.0, 40.0]),
        ];
        [three.clone(), three].concat()
    }

    #[test]
    fn limit_applies_to_the_median_of_p95() {
        let within = report(rounds());
        assert_eq!((within.p95_ratio, within.problem()), (1.25, None));
        let mut slower = rounds();
        for again in [2, 5] {
            slower[again] = round([40.0, 64.0, 64.0, 40.0]);
        }
        let problem = report(slower).problem();
        let expected = "p95 of bets under the flood is 1.60 times that without it (at most 1.5)";
        assert_eq!(problem.as_deref(), Some(expected));
        assert!(report(vec![round([0.0; 4]); 6]).missed().is_some(), "nothing was measured");
    }

    #[test]
    fn ratio_above_the_limit_is_no_doubt() {
        let slow = report(vec![round([40.0, 80.0, 80.0, 40.0]); 6]);
        assert!(slow.problem().is_some() && slow.doubt().is_none());
    }

    #[test]
    fn too_few_rounds_are_a_doubt() {
        let doubt = report(vec![round([40.0; 4]); 5]).doubt();
        assert!(doubt.is_some_and(|doubt| doubt.contains("needs at least 6")));
    }

    #[test]
    fn late_bet_or_missing_flood_is_a_doubt() {
        let mut late = rounds();
        late[1][2].measured.bets.errors.insert("not_in_time".to_owned(), 2);
        let doubt = report(late).doubt();
        assert_eq!(doubt.as_deref(), Some("2 bets were not answered with 200: not_in_time 2"));
        let mut unchecked = rounds();
        for turn in unchecked.iter_mut().flatten() {
            turn.log_ins = turn.log_ins.as_ref().map(|answers| Answers { wrong: 0, ..answers.clone() });
        }
        let doubt = report(unchecked).doubt().expect("a doubt");
        assert!(doubt.contains("none of 18000 log-ins was answered with 401"), "{doubt}");
    }

    #[test]
    fn page_has_the_figures_of_each_round() {
        let page = report(rounds()).to_markdown();
        for line in [
            "- p95 of bets, with / without the flood: median 1.25 (at most 1.5)",
            "- the flood: 100 log-ins/s, at most 32 at the same time: 18000 log-ins: 401 360 · 429 17640 · 503 0 · others none · without an answer none",
            "| p95 ms | 40.00 | 50.00 | 1.250 | 0.500–1.750 | 1.750 | 1.000 | 1.000–1.000 | 1.000 | 1.000–1.333 |",
            "p95 ms in each round: blue is with/without, grey is without/without, red is the goal (at most 1.5).",
            "    line [1.750, 0.500, 1.250, 1.750, 0.500, 1.250]",
            "| round 1 | 40.0 | 60.0 | 80.0 | 40.0 | 1.750 | 1.000 |",
            "| round 2 | 80.0 | 40.0 | 40.0 | 80.0 | 0.500 | 1.000 |",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
    }

    #[test]
    fn json_has_all_turns_and_the_control() {
        let json = serde_json::to_value(report(rounds())).unwrap();
        let log_ins = [0, 1, 2, 3].map(|turn: usize| json["rounds"][0][turn]["log_ins"]["wrong"].as_u64());
        assert_eq!(log_ins, [None, Some(30), Some(30), None]);
        assert_eq!(json["bench"], "flood");
        assert_eq!(json["rate_per_s"], 25);
        assert_eq!(json["p95_ratio"], 1.25);
        assert_eq!(json["log_ins"]["sent"], 18_000);
        assert_eq!(json["comparisons"][1]["a_over_a"]["median"], 1.0);
        assert_eq!(json["rounds"][0][1]["latency_ms"]["p95"], 60.0);
    }
}
