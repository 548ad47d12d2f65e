//! The report: what the rounds say about the platform beside the bare chain.

use std::collections::BTreeSet;

use serde::Serialize;

use super::saturation::{self, Peak};
use super::side::Side;
use super::turn::{self, Turn};
use crate::commands::bench::chart::Chart;
use crate::commands::bench::comparison::{CHAIN_COLUMNS, Comparison, chain_explanation};
use crate::commands::bench::cost::grid::Grid;
use crate::commands::bench::median;
use crate::commands::bench::order_statistics::Ends;
use crate::commands::bench::pace::Pace;
use crate::commands::bench::report::{Sheet, SheetReport};
use crate::commands::bench::rounds::Machine;
use crate::commands::bench::turn::{PerSecond, Totals, rejections};
use crate::output::counted;

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
    /// Load of a turn. In a climb, its first rate, and the duration of each rate.
    #[serde(flatten)]
    pub(super) pace: Pace,
}

/// All turns, as chain, platform, platform, chain.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "mode", content = "rounds", rename_all = "lowercase")]
pub(super) enum Turns {
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
    #[serde(flatten)]
    pub(super) machine: Machine,
    /// CPU time of each process without a load. Empty for climbs, which do not measure CPU time.
    pub(super) idle_cpu_ms_per_s: PerSecond,
    #[serde(flatten)]
    pub(super) turns: Turns,
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

impl Turns {
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
    fn paced(&self) -> impl Iterator<Item = &Turn> {
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
        let names: BTreeSet<&String> = self.paced().flat_map(|turn| turn.cpu_ms.keys()).collect();
        let cost = |side: Side, process: &String| {
            let turns = self.paced().filter(|turn| turn.side == side);
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
            coverage_percent: Ends::of(measured.turns.count()).coverage * 100.0,
            comparisons: measured.turns.comparisons(),
            processes: measured.turns.processes(),
            measured,
        }
    }

    /// Bets of all turns at the requested rate.
    fn totals(&self) -> Totals {
        Totals::of(self.measured.turns.paced().map(|turn| &turn.bets))
    }

    /// Lines about the bets and the machine.
    fn circumstances(&self) -> Vec<String> {
        let Measured { setup: Setup { release, pace }, machine, turns, .. } = &self.measured;
        let (count, players) = (counted(turns.count(), "round"), pace.players);
        let load = match turns {
            Turns::Paced(_) => format!("{pace}, {players} players on each side: {}", self.totals()),
            Turns::Saturated(_) => format!(
                "rates rise until a side does not keep up, {} s for each, {players} players on each side",
                pace.seconds
            ),
        };
        vec![
            format!("{count} chain, platform, platform, chain, each turn {load}"),
            machine.to_string(),
            format!("release: {}", release.as_deref().unwrap_or("unknown")),
        ]
    }

    /// What the comparison is for: the tail of the latency and the cost of a bet, or the throughput.
    fn charts(&self) -> Vec<Chart> {
        let charted: &[&str] = match self.measured.turns {
            Turns::Paced(_) => &["p99_ms", "cpu_ms_per_bet"],
            Turns::Saturated(_) => &["settled_per_s"],
        };
        let charted = self.comparisons.iter().filter(|comparison| charted.contains(&comparison.figure));
        Comparison::charts(charted, ["platform/chain", "chain/chain"], |_| None)
    }

    fn grids(&self) -> Vec<Grid> {
        let mut grids = vec![Comparison::grid(&self.comparisons, CHAIN_COLUMNS)];
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
}

impl SheetReport for Report {
    fn sheet(&self) -> Sheet {
        Sheet {
            circumstances: self.circumstances(),
            grids: self.grids(),
            charts: self.charts(),
            explanation: chain_explanation(self.measured.turns.count()),
        }
    }

    fn values(&self) -> usize {
        self.measured.turns.count()
    }

    /// Says that not every bet was settled, or that a side was not saturated. `None` if neither is so. Unanswered bets of a climb
    /// are expected: they end it.
    fn own_doubt(&self) -> Option<String> {
        let peaks = || self.measured.turns.peaks();
        let unsaturated = || {
            let peak = peaks().find(|peak| !peak.is_saturated)?;
            Some(format!(
                "the {} was not saturated at {:.0} bets a second, the load generator's limit",
                peak.side, peak.settled_per_s
            ))
        };
        let rejected = || rejections(peaks().map(|peak| peak.rejected).sum());
        self.totals().problem().or_else(rejected).or_else(unsaturated)
    }

    /// No goal is known for its ratios.
    fn missed(&self) -> Option<String> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::saturation::tests::peak;
    use super::super::turn::tests::turn;
    use super::*;
    use crate::commands::bench::report::BenchReport as _;

    fn report(turns: Turns) -> Report {
        Report::of(Measured {
            setup: Setup {
                release: None,
                pace: Pace { rate_per_s: 20, seconds: 15, warm_up_s: 3, players: 50 },
            },
            machine: Machine { fsync_ms: 1.25, steal_percent: 0.5 },
            idle_cpu_ms_per_s: PerSecond::new(),
            turns,
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
        let paced = report(Turns::Paced(paced(7)));
        let of = |report: &Report, figure: &str| {
            let found = report.comparisons.iter().find(|comparison| comparison.figure == figure);
            found.expect("the figure").b_over_a.estimate.median
        };
        assert_eq!((of(&paced, "p99_ms"), of(&paced, "cpu_ms_per_bet")), (2.0, 4.5));
        assert_eq!(paced.problem(), None);
        let saturated = report(Turns::Saturated(saturated(7)));
        assert_eq!(of(&saturated, "settled_per_s"), 0.75);
        assert_eq!(saturated.comparisons.len(), 1);
        assert_eq!(saturated.problem(), None, "late bets end a climb");
    }

    #[test]
    fn unanswered_and_rejected_bets_are_problems() {
        let mut rounds = paced(2);
        rounds[1][3].bets.rejected = 3;
        let problem = report(Turns::Paced(rounds.clone())).problem();
        let expected = "3 bets were rejected, although each player has money for all of them";
        assert_eq!(problem.as_deref(), Some(expected));
        rounds[0][1].bets.errors.insert("timeout".to_owned(), 2);
        let problem = report(Turns::Paced(rounds)).problem();
        assert_eq!(problem.as_deref(), Some("2 bets were not answered with 200: timeout 2"));
    }

    #[test]
    fn too_few_rounds_are_a_doubt() {
        for turns in [Turns::Paced(paced(5)), Turns::Saturated(saturated(5))] {
            let doubt = report(turns).doubt();
            assert!(doubt.is_some_and(|doubt| doubt.contains("needs at least 6")));
        }
    }

    #[test]
    fn side_that_was_not_saturated_is_a_problem() {
        let mut rounds = saturated(1);
        rounds[0][2].is_saturated = false;
        let problem = report(Turns::Saturated(rounds)).problem().expect("a problem");
        assert!(problem.contains("the platform was not saturated at 300 bets"), "{problem}");
    }

    #[test]
    fn page_has_the_figures_and_the_processes() {
        let page = report(Turns::Paced(paced(7))).to_markdown();
        for line in [
            "| p99 ms | 15.00 | 30.00 | 2.000 | 2.000–2.000 | 2.000 | 1.000 | 1.000–1.000 | 1.000 | 1.000–1.000 |",
            "| barechain | 2.000 | – |",
            "| game | – | 9.000 |",
            "| all | 2.000 | 9.000 |",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        assert!(
            page.contains("settled 8400 · rejected 0 · errors none") && page.contains("98.4 %"),
            "{page}"
        );
        let page = report(Turns::Saturated(saturated(7))).to_markdown();
        assert!(page.contains("| settled/s | 400.00 | 300.00 | 0.750 |"), "{page}");
        assert!(!page.contains("| process |"), "a climb does not measure CPU time");
        assert!(page.contains("settled/s in each round: blue is platform/chain"), "{page}");
    }

    #[test]
    fn json_names_the_mode_and_all_turns() {
        let json = serde_json::to_value(report(Turns::Paced(paced(2)))).unwrap();
        let sides = [0, 1, 2, 3].map(|turn: usize| json["rounds"][1][turn]["side"].clone());
        assert_eq!(sides, ["chain", "platform", "platform", "chain"]);
        assert_eq!(json["bench"], "chain");
        assert_eq!(json["mode"], "paced");
        assert_eq!(json["rate_per_s"], 20);
        let game = serde_json::json!({ "process": "game", "platform": 9.0 });
        assert_eq!(json["processes"].as_array().and_then(|all| all.last()), Some(&game));
        let json = serde_json::to_value(report(Turns::Saturated(saturated(1)))).unwrap();
        assert_eq!(json["mode"], "saturated");
        assert_eq!(json["rounds"][0][0]["steps"].as_array().map(Vec::len), Some(2));
    }
}
