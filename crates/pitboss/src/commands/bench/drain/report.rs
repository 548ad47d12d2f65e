//! The report: what the rounds say about the consumer of the platform beside the bare one.

use serde::Serialize;

use super::queue::Drained;
use crate::commands::bench::comparison::{CHAIN_COLUMNS, Comparison, Figure, chain_explanation};
use crate::commands::bench::consumer::Consumer;
use crate::commands::bench::order_statistics::Ends;
use crate::commands::bench::report::{Sheet, SheetReport};
use crate::commands::bench::rounds::Machine;
use crate::output::counted;

/// Least ratio of the records a second.
const RATIO_MIN: f64 = 0.85;
/// The figures that are compared.
const FIGURES: [Figure<Drained>; 2] = [
    Figure {
        name: "records_per_s",
        title: "records/s",
        is_limited: true,
        is_more_better: true,
        of: |drained| drained.records_per_s,
    },
    Figure::less("to_lag_0_s", "s to lag 0", false, |drained| drained.to_lag_0_s),
];

/// Requested measurement.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Setup {
    /// Release of the services, if `up` recorded it.
    pub(super) release: Option<String>,
    /// The consumer of the platform.
    pub(super) group: Consumer,
    /// Writes of each side to the store for a record.
    pub(super) store_writes: u8,
    /// Records of each backlog.
    pub(super) records: u32,
    /// Players on each side.
    pub(super) players: u16,
}

/// Measured rounds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measured {
    #[serde(flatten)]
    pub(super) setup: Setup,
    #[serde(flatten)]
    pub(super) machine: Machine,
    /// One turn of the bare consumer that writes in batches, before the rounds: an upper bound, not compared.
    pub(super) in_batches: Drained,
    /// All turns, as chain, platform, platform, chain.
    pub(super) rounds: Vec<[Drained; 4]>,
}

/// Result of the benchmark, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    bench: &'static str,
    #[serde(flatten)]
    measured: Measured,
    /// Probability with which each interval contains the median of its ratios.
    coverage_percent: f64,
    ratio_min: f64,
    comparisons: Vec<Comparison>,
}

impl Report {
    /// Compares the turns of all rounds, of which there has to be at least one.
    pub(super) fn of(measured: Measured) -> Self {
        Self {
            bench: super::NAME,
            coverage_percent: Ends::of(measured.rounds.len()).coverage * 100.0,
            ratio_min: RATIO_MIN,
            comparisons: Comparison::all(&FIGURES, &measured.rounds),
            measured,
        }
    }

    /// Lines about the backlogs and the machine.
    fn circumstances(&self) -> Vec<String> {
        let Measured { setup, machine, in_batches, rounds } = &self.measured;
        let Setup { release, group, store_writes, records, players } = setup;
        vec![
            format!(
                "{} chain, platform, platform, chain: {group} and the bare consumer, each with a backlog of {records} records of {players} players",
                counted(rounds.len(), "round")
            ),
            format!(
                "for a record: {} to the store, one after the other and in the order of a player's records, and one record published",
                counted(*store_writes, "write")
            ),
            format!(
                "upper bound: the bare consumer without that order, which writes all records that it has fetched with one command for each collection: {:.0} records/s in one turn",
                in_batches.records_per_s
            ),
            format!("goal: the bad end of the ratio of records/s is at least {RATIO_MIN}"),
            machine.to_string(),
            format!("release: {}", release.as_deref().unwrap_or("unknown")),
        ]
    }
}

impl SheetReport for Report {
    fn sheet(&self) -> Sheet {
        Sheet {
            circumstances: self.circumstances(),
            grids: vec![Comparison::grid(&self.comparisons, CHAIN_COLUMNS)],
            charts: Comparison::charts(
                Comparison::limited(&self.comparisons),
                ["platform/chain", "chain/chain"],
                |_| Some(RATIO_MIN),
            ),
            explanation: chain_explanation(self.measured.rounds.len()),
        }
    }

    fn values(&self) -> usize {
        self.measured.rounds.len()
    }

    fn own_doubt(&self) -> Option<String> {
        None
    }

    fn missed(&self) -> Option<String> {
        Comparison::problem(&self.comparisons, RATIO_MIN, "platform/chain")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::bench::report::BenchReport as _;

    fn drained(records_per_s: f64) -> Drained {
        Drained { records: 5_000, records_per_s, to_lag_0_s: 5_000.0 / records_per_s + 2.0 }
    }

    /// Rounds in which the chain drains 1 000 records a second, and the platform these.
    fn report(platform: &[f64]) -> Report {
        let round = |rate: &f64| [drained(1_000.0), drained(*rate), drained(*rate), drained(1_000.0)];
        Report::of(Measured {
            setup: Setup {
                release: None,
                group: Consumer::Payment,
                store_writes: 2,
                records: 5_000,
                players: 100,
            },
            machine: Machine { fsync_ms: 1.25, steal_percent: 0.5 },
            in_batches: drained(15_000.0),
            rounds: platform.iter().map(round).collect(),
        })
    }

    #[test]
    fn slowest_round_decides_about_the_goal() {
        assert_eq!(report(&[850.0, 900.0, 1_100.0, 900.0, 900.0, 900.0]).problem(), None);
        let problem = report(&[840.0, 900.0, 1_100.0, 900.0, 900.0, 900.0]).problem();
        let expected = "the bad end of platform/chain is beyond its limit: records/s 0.840 (at least 0.85)";
        assert_eq!(problem.as_deref(), Some(expected));
    }

    #[test]
    fn too_few_rounds_are_a_doubt() {
        assert!(report(&[1_000.0; 5]).doubt().is_some_and(|doubt| doubt.contains("needs at least 6")));
        assert_eq!(report(&[1_000.0; 6]).doubt(), None);
    }

    #[test]
    fn page_has_the_ratio_and_the_goal() {
        let page = report(&[500.0; 7]).to_markdown();
        for line in [
            "- 7 rounds chain, platform, platform, chain: payment and the bare consumer, each with a backlog of 5000 records of 100 players",
            "- for a record: 2 writes to the store, one after the other and in the order of a player's records, and one record published",
            "- upper bound: the bare consumer without that order, which writes all records that it has fetched with one command for each collection: 15000 records/s in one turn",
            "- goal: the bad end of the ratio of records/s is at least 0.85",
            "| records/s | 1000.00 | 500.00 | 0.500 | 0.500–0.500 | 0.500 | 1.000 | 1.000–1.000 | 1.000 | 1.000–1.000 |",
            "records/s in each round: blue is platform/chain, grey is chain/chain, red is the goal (at least 0.85).",
            "| s to lag 0 | 7.00 | 12.00 | 1.714 | 1.714–1.714 | 1.714 | 1.000 | 1.000–1.000 | 1.000 | 1.000–1.000 |",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
    }

    #[test]
    fn json_has_all_turns() {
        let json = serde_json::to_value(report(&[500.0; 2])).unwrap();
        assert_eq!(json["bench"], "drain");
        assert_eq!(json["group"], "payment");
        let rates = [0, 1, 2, 3].map(|turn: usize| json["rounds"][1][turn]["records_per_s"].as_f64());
        assert_eq!(rates, [Some(1_000.0), Some(500.0), Some(500.0), Some(1_000.0)]);
        assert_eq!(json["comparisons"][0]["figure"], "records_per_s");
        assert_eq!(json["ratio_min"], 0.85);
        assert_eq!(json["in_batches"]["records_per_s"], 15_000.0);
    }
}
