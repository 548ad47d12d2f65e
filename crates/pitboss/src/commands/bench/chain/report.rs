//! The report: what the rounds say about the platform beside the bare chain.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::bettors::Side;
use super::saturation::{self, Peak};
use super::turn::{self, PerSecond, Turn};
use crate::commands::bench::comparison::Comparison;
use crate::commands::bench::cost::grid::Grid;
use crate::commands::bench::cost::machine::WRITES;
use crate::commands::bench::cost::report::kinds;
use crate::commands::bench::median;
use crate::commands::bench::order_statistics::Ends;
use crate::output::counted;

/// Columns of the table of figures.
const FIGURES: &[&str] = &[
    "FIGURE",
    "CHAIN",
    "PLATFORM",
    "PLATFORM/CHAIN",
    "INTERVAL",
    "BAD END",
    "CHAIN/CHAIN",
    "ITS INTERVAL",
    "PLATFORM/PLATFORM",
    "ITS INTERVAL",
];
/// Columns of the table of processes.
const PROCESSES: &[&str] = &["PROCESS", "CHAIN CPU MS/BET", "PLATFORM CPU MS/BET"];
/// Cell without a figure.
const NONE: &str = "–";
/// Name of the last row.
const TOTAL: &str = "all";

/// Requested measurement.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Setup {
    /// Release of the services, if `up` recorded it.
    pub(super) release: Option<String>,
    /// Requested rate. In a climb, the first one.
    pub(super) rate_per_s: u32,
    /// Duration of each measurement. In a climb, of each rate.
    pub(super) seconds: u64,
    /// Load before each measurement, in seconds.
    pub(super) warm_up_s: u64,
    /// Players on each side that shared the bets.
    pub(super) players: u16,
}

/// All turns, as chain, platform, platform, chain.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "mode", content = "rounds", rename_all = "lowercase")]
pub(super) enum Rounds {
    /// At the requested rate.
    Paced(Vec<[Turn; 4]>),
    /// At rising rates.
    Saturated(Vec<[Peak; 4]>),
}

/// Measured rounds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measured {
    #[serde(flatten)]
    pub(super) setup: Setup,
    /// Median time of a write of 4 KiB with its fsync in the state folder, measured before each round.
    pub(super) fsync_ms: f64,
    /// Share of the machine's CPU time that its host took during all rounds.
    pub(super) steal_percent: f64,
    /// CPU time of each process without a load. Empty for climbs, which do not measure CPU time.
    pub(super) idle_cpu_ms_per_s: PerSecond,
    #[serde(flatten)]
    pub(super) rounds: Rounds,
}

/// CPU time of a bet in one process: medians over the turns of each side that uses it.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct ProcessCost {
    process: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    chain: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<f64>,
}

/// Result of the benchmark, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    bench: &'static str,
    #[serde(flatten)]
    measured: Measured,
    /// Probability with which each interval contains the median of its ratios.
    coverage_percent: f64,
    comparisons: Vec<Comparison>,
    processes: Vec<ProcessCost>,
}

impl Rounds {
    fn count(&self) -> usize {
        match self {
            Self::Paced(rounds) => rounds.len(),
            Self::Saturated(rounds) => rounds.len(),
        }
    }

    fn comparisons(&self) -> Vec<Comparison> {
        match self {
            Self::Paced(rounds) => Comparison::all(&turn::FIGURES, rounds),
            Self::Saturated(rounds) => Comparison::all(&saturation::FIGURES, rounds),
        }
    }

    /// Turns at the requested rate.
    fn turns(&self) -> impl Iterator<Item = &Turn> {
        let rounds: &[[Turn; 4]] = match self {
            Self::Paced(rounds) => rounds.as_slice(),
            Self::Saturated(_) => &[],
        };
        rounds.iter().flatten()
    }

    /// Turns with rising rates.
    fn peaks(&self) -> impl Iterator<Item = &Peak> {
        let rounds: &[[Peak; 4]] = match self {
            Self::Paced(_) => &[],
            Self::Saturated(rounds) => rounds.as_slice(),
        };
        rounds.iter().flatten()
    }

    fn processes(&self) -> Vec<ProcessCost> {
        let names: BTreeSet<&String> = self.turns().flat_map(|turn| turn.cpu_ms.keys()).collect();
        let cost = |side: Side, process: &String| {
            let turns = self.turns().filter(|turn| turn.side == side);
            let costs: Vec<f64> = turns.filter_map(|turn| turn.cpu_ms.get(process).copied()).collect();
            (!costs.is_empty()).then(|| median(&costs))
        };
        let costs = names.into_iter().map(|process| ProcessCost {
            chain: cost(Side::Chain, process),
            platform: cost(Side::Platform, process),
            process: process.clone(),
        });
        costs.collect()
    }
}

impl Report {
    /// Compares the sides in all rounds, of which there has to be at least one.
    pub(super) fn of(measured: Measured) -> Self {
        Self {
            bench: "chain",
            coverage_percent: Ends::of(measured.rounds.count()).coverage * 100.0,
            comparisons: measured.rounds.comparisons(),
            processes: measured.rounds.processes(),
            measured,
        }
    }

    /// Says that not every bet was settled, or that a side was not saturated. `None` if neither is so. Unanswered bets of a climb
    /// are expected: they end it.
    pub(super) fn problem(&self) -> Option<String> {
        let rounds = &self.measured.rounds;
        let errors = self.errors();
        let failed: u64 = errors.values().sum();
        if failed > 0 {
            return Some(format!("{failed} bets were not answered with 200: {}", kinds(&errors)));
        }
        let rejected = rounds.turns().map(|turn| turn.rejected);
        let rejected: u64 = rejected.chain(rounds.peaks().map(|peak| peak.rejected)).sum();
        if rejected > 0 {
            return Some(format!(
                "{rejected} bets were rejected, although each player has money for all of them"
            ));
        }
        let unsaturated = rounds.peaks().find(|peak| !peak.is_saturated)?;
        Some(format!(
            "the {} was not saturated at {:.0} bets a second, the load generator's limit",
            unsaturated.side, unsaturated.settled_per_s
        ))
    }

    /// The report for a terminal of this width.
    pub(super) fn to_text(&self, columns: usize) -> String {
        let tables = self.grids().into_iter().map(|grid| format!("{}\n\n", grid.to_text(columns)));
        let lines: String = self.circumstances().into_iter().map(|line| format!("{line}\n")).collect();
        format!("{lines}\n{}{}\n", tables.collect::<String>(), self.explanation())
    }

    /// The report for a page in Markdown.
    pub(super) fn to_markdown(&self) -> String {
        let tables = self.grids().into_iter().map(|grid| format!("{}\n", grid.to_markdown()));
        let list: String = self.circumstances().into_iter().map(|line| format!("- {line}\n")).collect();
        format!("{list}\n{}{}\n", tables.collect::<String>(), self.explanation())
    }

    /// Failed bets of all turns at the requested rate, by kind.
    fn errors(&self) -> BTreeMap<String, u64> {
        let mut errors: BTreeMap<String, u64> = BTreeMap::new();
        for (kind, count) in self.measured.rounds.turns().flat_map(|turn| &turn.errors) {
            *errors.entry(kind.clone()).or_default() += count;
        }
        errors
    }

    /// Lines about the bets and the machine.
    fn circumstances(&self) -> Vec<String> {
        let Measured { setup, fsync_ms, steal_percent, rounds, .. } = &self.measured;
        let Setup { release, rate_per_s, seconds, warm_up_s, players } = setup;
        let count = counted(rounds.count(), "round");
        let load = match rounds {
            Rounds::Paced(_) => {
                let settled: u64 = rounds.turns().map(|turn| turn.settled).sum();
                let errors = kinds(&self.errors());
                format!(
                    "{rate_per_s} bets/s for {seconds} s after {warm_up_s} s of warm-up, {players} players on each side: settled {settled} · errors {errors}"
                )
            }
            Rounds::Saturated(_) => format!(
                "rates rise until a side does not keep up, {seconds} s for each, {players} players on each side"
            ),
        };
        vec![
            format!("{count} chain, platform, platform, chain, each turn {load}"),
            format!(
                "stolen CPU time: {steal_percent:.1} % of the rounds · write and fsync of 4 KiB: {fsync_ms:.2} ms (median of {WRITES} before each round)"
            ),
            format!("release: {}", release.as_deref().unwrap_or("unknown")),
        ]
    }

    fn grids(&self) -> Vec<Grid> {
        let figures = self.comparisons.iter().map(|comparison| {
            let Comparison { title, a, b, b_over_a, a_over_a, b_over_b, .. } = comparison;
            let mut row = vec![(*title).to_owned(), format!("{a:.2}"), format!("{b:.2}")];
            row.extend(b_over_a.cells());
            row.push(format!("{:.3}", comparison.bad_end()));
            row.extend(a_over_a.cells().into_iter().chain(b_over_b.cells()));
            row
        });
        let mut grids = vec![Grid { header: FIGURES, text_columns: 1, rows: figures.collect() }];
        if !self.processes.is_empty() {
            let cell = |cost: Option<f64>| cost.map_or_else(|| NONE.to_owned(), |ms| format!("{ms:.3}"));
            let mut rows: Vec<Vec<String>> = self
                .processes
                .iter()
                .map(|cost| vec![cost.process.clone(), cell(cost.chain), cell(cost.platform)])
                .collect();
            let sum =
                |of: fn(&ProcessCost) -> Option<f64>| Some(self.processes.iter().filter_map(of).sum::<f64>());
            rows.push(vec![TOTAL.to_owned(), cell(sum(|cost| cost.chain)), cell(sum(|cost| cost.platform))]);
            grids.push(Grid { header: PROCESSES, text_columns: 1, rows });
        }
        grids
    }

    /// Explains the ratios and their intervals.
    fn explanation(&self) -> String {
        let intervals = Ends::explanation(self.measured.rounds.count());
        format!(
            "Ratios are medians of one a round. {intervals} Bad end: the end that is worse for the platform."
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::saturation::tests::peak;
    use super::super::turn::tests::turn;
    use super::*;

    fn report(rounds: Rounds) -> Report {
        Report::of(Measured {
            setup: Setup { release: None, rate_per_s: 20, seconds: 15, warm_up_s: 3, players: 50 },
            fsync_ms: 1.25,
            steal_percent: 0.5,
            idle_cpu_ms_per_s: PerSecond::new(),
            rounds,
        })
    }

    /// Rounds in which the platform takes twice the time of the chain.
    fn paced(rounds: usize) -> Vec<[Turn; 4]> {
        let (a, b) = (turn(Side::Chain, 5.0, 2.0), turn(Side::Platform, 10.0, 9.0));
        vec![[a.clone(), b.clone(), b, a]; rounds]
    }

    fn saturated(rounds: usize) -> Vec<[Peak; 4]> {
        let (a, b) = (peak(Side::Chain, 400.0), peak(Side::Platform, 300.0));
        vec![[a.clone(), b.clone(), b, a]; rounds]
    }

    #[test]
    fn ratios_are_those_of_the_platform_to_the_chain() {
        let paced = report(Rounds::Paced(paced(7)));
        let of = |report: &Report, figure: &str| {
            let found = report.comparisons.iter().find(|comparison| comparison.figure == figure);
            found.expect("the figure").b_over_a.estimate.median
        };
        assert_eq!((of(&paced, "p99_ms"), of(&paced, "cpu_ms_per_bet")), (2.0, 4.5));
        assert_eq!(paced.problem(), None);
        let saturated = report(Rounds::Saturated(saturated(7)));
        assert_eq!(of(&saturated, "settled_per_s"), 0.75);
        assert_eq!(saturated.comparisons.len(), 1);
        assert_eq!(saturated.problem(), None, "late bets end a climb");
    }

    #[test]
    fn unanswered_and_rejected_bets_are_problems() {
        let mut rounds = paced(2);
        rounds[1][3].rejected = 3;
        let problem = report(Rounds::Paced(rounds.clone())).problem();
        let expected = "3 bets were rejected, although each player has money for all of them";
        assert_eq!(problem.as_deref(), Some(expected));
        rounds[0][1].errors.insert("timeout".to_owned(), 2);
        let problem = report(Rounds::Paced(rounds)).problem();
        assert_eq!(problem.as_deref(), Some("2 bets were not answered with 200: timeout 2"));
    }

    #[test]
    fn side_that_was_not_saturated_is_a_problem() {
        let mut rounds = saturated(1);
        rounds[0][2].is_saturated = false;
        let problem = report(Rounds::Saturated(rounds)).problem().expect("a problem");
        assert!(problem.contains("the platform was not saturated at 300 bets"), "{problem}");
    }

    #[test]
    fn page_has_the_figures_and_the_processes() {
        let page = report(Rounds::Paced(paced(7))).to_markdown();
        for line in [
            "| p99 ms | 15.00 | 30.00 | 2.000 | 2.000–2.000 | 2.000 | 1.000 | 1.000–1.000 | 1.000 | 1.000–1.000 |",
            "| barechain | 2.000 | – |",
            "| game | – | 9.000 |",
            "| all | 2.000 | 9.000 |",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        assert!(page.contains("settled 8400 · errors none") && page.contains("98.4 %"), "{page}");
        let page = report(Rounds::Saturated(saturated(7))).to_markdown();
        assert!(page.contains("| settled/s | 400.00 | 300.00 | 0.750 |"), "{page}");
        assert!(!page.contains("| process |"), "a climb does not measure CPU time");
    }

    #[test]
    fn json_names_the_mode_and_all_turns() {
        let json = serde_json::to_value(report(Rounds::Paced(paced(2)))).unwrap();
        let sides = [0, 1, 2, 3].map(|turn: usize| json["rounds"][1][turn]["side"].clone());
        assert_eq!(sides, ["chain", "platform", "platform", "chain"]);
        assert_eq!(json["bench"], "chain");
        assert_eq!(json["mode"], "paced");
        assert_eq!(json["rate_per_s"], 20);
        let game = serde_json::json!({ "process": "game", "platform": 9.0 });
        assert_eq!(json["processes"].as_array().and_then(|all| all.last()), Some(&game));
        let json = serde_json::to_value(report(Rounds::Saturated(saturated(1)))).unwrap();
        assert_eq!(json["mode"], "saturated");
        assert_eq!(json["rounds"][0][0]["steps"].as_array().map(Vec::len), Some(2));
    }
}
