//! The report: what the rounds say about bets while the receiver of telemetry is out of order.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Failure;
use super::lost::{Lost, by_reason};
use super::stand_in::Received;
use crate::commands::bench::comparison::{A_AND_B, Comparison, Figure};
use crate::commands::bench::contender::Turn;
use crate::commands::bench::order_statistics::Ends;
use crate::commands::bench::pace::Pace;
use crate::commands::bench::report::{Sheet, SheetReport};
use crate::commands::bench::rounds::Machine;
use crate::commands::bench::turn::Totals;
use crate::output::counted;

/// Figures with a limit, and the limit of their bad ends.
const LIMITS: [(&str, f64); 2] = [("p50_ms", 1.02), ("p99_ms", 1.10)];
/// The figures that are compared.
const FIGURES: [Figure<Turn>; 4] = [
    Figure::less("p50_ms", "p50 ms", true, |turn| turn.measured.bets.latency_ms.p50),
    Figure::less("p95_ms", "p95 ms", false, |turn| turn.measured.bets.latency_ms.p95),
    Figure::less("p99_ms", "p99 ms", true, |turn| turn.measured.bets.latency_ms.p99),
    Figure::less("cpu_ms_per_bet", "CPU ms/bet", false, |turn| turn.measured.cpu_ms_per_bet),
];

/// Measured rounds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measured {
    /// Release of the services, if `up` recorded it.
    pub(super) release: Option<String>,
    /// How the receiver of B fails.
    pub(super) mode: Failure,
    #[serde(flatten)]
    pub(super) pace: Pace,
    #[serde(flatten)]
    pub(super) machine: Machine,
    /// What the receivers of A and of B got up to the end of the rounds.
    pub(super) received: [Received; 2],
    /// Lost telemetry of A up to the end of the rounds, and of B after its receiver worked again.
    pub(super) lost: [Lost; 2],
    /// All turns, as A, B, B, A.
    pub(super) rounds: Vec<[Turn; 4]>,
}

/// Result of the benchmark for one mode, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    bench: &'static str,
    #[serde(flatten)]
    measured: Measured,
    /// Losses of B that no client report named.
    unreported: BTreeMap<String, u64>,
    /// Probability with which each interval contains the median of its ratios.
    coverage_percent: f64,
    /// Limits of the bad ends, by figure.
    ratios_max: BTreeMap<&'static str, f64>,
    comparisons: Vec<Comparison>,
}

impl Report {
    /// Compares the platforms in all rounds, of which there has to be at least one.
    pub(super) fn of(measured: Measured) -> Self {
        let [_, b] = &measured.lost;
        Self {
            bench: super::NAME,
            unreported: b.unreported(),
            coverage_percent: Ends::of(measured.rounds.len()).coverage * 100.0,
            ratios_max: BTreeMap::from(LIMITS),
            comparisons: Comparison::all(&FIGURES, &measured.rounds),
            measured,
        }
    }

    /// Bets of all turns.
    fn totals(&self) -> Totals {
        Totals::of(self.measured.rounds.iter().flatten().map(|turn| &turn.measured.bets))
    }

    /// Lines about the receivers, the bets and the machine.
    fn circumstances(&self) -> Vec<String> {
        let Measured { release, mode, pace, machine, received, lost, rounds } = &self.measured;
        let [a, b] = received;
        let limits: Vec<String> = self
            .comparisons
            .iter()
            .filter_map(|comparison| {
                let ratio_max = self.ratios_max.get(comparison.figure)?;
                Some(format!("{} {:.3} (at most {ratio_max})", comparison.title, comparison.bad_end()))
            })
            .collect();
        vec![
            format!("the receiver of B {mode}"),
            format!(
                "{} A B B A, each turn {pace}, {} players on each platform",
                counted(rounds.len(), "round"),
                pace.players
            ),
            self.totals().to_string(),
            format!("bad ends of B/A: {}", limits.join(" · ")),
            format!(
                "envelopes at the receiver: A {}, of which {} were taken · B {}, of which {} were taken",
                a.requests, a.taken, b.requests, b.taken
            ),
            format!("lost telemetry of B: {}", lost[1]),
            machine.to_string(),
            format!("release: {}", release.as_deref().unwrap_or("unknown")),
        ]
    }

    /// Explains the ratios and their intervals.
    fn explanation(&self) -> String {
        let intervals = Ends::explanation(self.measured.rounds.len());
        format!(
            "A: the receiver takes each envelope. B/A, A/A and B/B are medians of one ratio a round. {intervals} Bad end: the upper end for B/A. A/A is the control: what the machine alone changes."
        )
    }
}

impl SheetReport for Report {
    fn sheet(&self) -> Sheet {
        Sheet {
            circumstances: self.circumstances(),
            grids: vec![Comparison::grid(&self.comparisons, A_AND_B)],
            charts: Comparison::charts(Comparison::limited(&self.comparisons), ["B/A", "A/A"], |limited| {
                self.ratios_max.get(limited.figure).copied()
            }),
            explanation: self.explanation(),
        }
    }

    fn values(&self) -> usize {
        self.measured.rounds.len()
    }

    fn own_doubt(&self) -> Option<String> {
        let Measured { received: [a, b], lost: [lost_a, lost_b], .. } = &self.measured;
        let is_idle = a.taken == 0;
        let has_taken = b.taken > 0;
        let lost = &lost_a.counted;
        self.totals()
            .problem()
            .or_else(|| is_idle.then(|| "the receiver of A got no envelope".to_owned()))
            .or_else(|| (!lost.is_empty()).then(|| format!("A lost telemetry, too: {}", by_reason(lost))))
            .or_else(|| has_taken.then(|| "the receiver of B worked in a round".to_owned()))
            .or_else(|| {
                lost_b
                    .counted
                    .is_empty()
                    .then(|| "B lost no telemetry, so nothing was out of order".to_owned())
            })
    }

    fn missed(&self) -> Option<String> {
        let excess = self.comparisons.iter().filter_map(|comparison| {
            let ratio_max = self.ratios_max.get(comparison.figure)?;
            comparison.excess(*ratio_max)
        });
        let unreported = (!self.unreported.is_empty()).then(|| {
            let items = by_reason(&self.unreported);
            format!("lost telemetry of B was not reported after its receiver worked again: {items}")
        });
        let misses: Vec<String> = excess.chain(unreported).collect();
        (!misses.is_empty()).then(|| misses.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::super::lost::tests::items;
    use super::*;
    use crate::commands::bench::contender::tests::round;
    use crate::commands::bench::report::BenchReport as _;

    fn measured(rounds: Vec<[Turn; 4]>) -> Measured {
        let counted = items(&[("game network_error span", 90), ("game network_error log_byte", 7_000)]);
        Measured {
            release: None,
            mode: Failure::Hung,
            pace: Pace { rate_per_s: 20, seconds: 30, warm_up_s: 3, players: 50 },
            machine: Machine { fsync_ms: 1.25, steal_percent: 0.5 },
            received: [
                Received { requests: 800, taken: 800, ..Received::default() },
                Received { requests: 60, ..Received::default() },
            ],
            lost: [Lost::default(), Lost { reported: counted.clone(), counted }],
            rounds,
        }
    }

    /// Seven rounds whose medians are the same but for those of B in the last one.
    fn rounds(last_of_b: f64) -> Vec<[Turn; 4]> {
        let mut rounds = vec![round([100.0; 4]); 6];
        rounds.push(round([100.0, last_of_b, last_of_b, 100.0]));
        rounds
    }

    #[test]
    fn bad_end_of_each_limited_figure_decides() {
        assert_eq!(Report::of(measured(rounds(102.0))).problem(), None);
        let slow = Report::of(measured(rounds(103.0))).problem();
        let expected = "the bad end of B/A for p50 ms is 1.030 (at most 1.02, and A/A is 1.000–1.000)";
        assert_eq!(slow.as_deref(), Some(expected));
        let slower = Report::of(measured(rounds(111.0))).problem().unwrap();
        assert!(
            slower.contains("p50 ms is 1.110") && slower.contains("p99 ms is 1.110 (at most 1.1,"),
            "{slower}"
        );
    }

    #[test]
    fn unreported_loss_is_a_problem_and_no_doubt() {
        let mut measured = measured(rounds(100.0));
        measured.lost[1].reported = items(&[("game network_error span", 80)]);
        let report = Report::of(measured);
        let problem = report.problem().unwrap();
        assert!(problem.ends_with("after its receiver worked again: network_error 10"), "{problem}");
        assert_eq!(report.doubt(), None);
    }

    #[test]
    fn other_receivers_than_meant_are_a_doubt() {
        let doubt = |change: fn(&mut Measured)| {
            let mut measured = measured(rounds(100.0));
            change(&mut measured);
            Report::of(measured).doubt().expect("a doubt")
        };
        assert!(doubt(|measured| measured.received[0].taken = 0).contains("A got no envelope"));
        assert!(doubt(|measured| measured.received[1].taken = 1).contains("B worked in a round"));
        assert!(doubt(|measured| measured.lost[1] = Lost::default()).contains("B lost no telemetry"));
        assert!(
            doubt(|measured| measured.lost.swap(0, 1)).contains("A lost telemetry, too: network_error 90")
        );
        assert!(doubt(|measured| measured.rounds.truncate(5)).contains("needs at least 6"));
        let late = doubt(|measured| {
            measured.rounds[0][1].measured.bets.errors.insert("not_in_time".to_owned(), 2);
        });
        assert_eq!(late, "2 bets were not answered with 200: not_in_time 2");
    }

    #[test]
    fn page_names_the_mode_and_the_losses() {
        let page = Report::of(measured(rounds(102.0))).to_markdown();
        for line in [
            "- the receiver of B reads requests and does not answer (hung)",
            "- 7 rounds A B B A, each turn 20 bets/s for 30 s after 3 s of warm-up, 50 players on each platform",
            "- bad ends of B/A: p50 ms 1.020 (at most 1.02) · p99 ms 1.020 (at most 1.1)",
            "p99 ms in each round: blue is B/A, grey is A/A, red is the goal (at most 1.1).",
            "- envelopes at the receiver: A 800, of which 800 were taken · B 60, of which 0 were taken",
            "- lost telemetry of B: counted network_error 90 · reported network_error 90 · not reported none",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
    }

    #[test]
    fn json_has_limits_losses_and_all_turns() {
        let json = serde_json::to_value(Report::of(measured(rounds(100.0)))).unwrap();
        assert_eq!((json["bench"].as_str(), json["mode"].as_str()), (Some("sentry-down"), Some("hung")));
        assert_eq!(json["ratios_max"], serde_json::json!({ "p50_ms": 1.02, "p99_ms": 1.1 }));
        assert_eq!(json["lost"][1]["reported"]["game network_error span"], 90);
        assert_eq!(json["rounds"][6][1]["side"], "B");
        assert_eq!(json["comparisons"][0]["a_over_a"]["median"], 1.0);
    }
}
