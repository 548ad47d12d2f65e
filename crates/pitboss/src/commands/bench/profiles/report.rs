//! The report: what the rounds say about the cost of continuous profiling.

use serde::Serialize;

use crate::commands::bench::comparison::{A_AND_B, Comparison};
use crate::commands::bench::cost::report::kinds;
use crate::commands::bench::order_statistics::Ends;
use crate::commands::bench::pace::Pace;
use crate::commands::bench::report::{Sheet, SheetReport};
use crate::commands::bench::rounds::Machine;
use crate::commands::bench::telemetry::turn::{Cpu, FIGURES, Turn};
use crate::commands::bench::turn::Totals;
use crate::load_generator::losses::Losses;
use crate::output::counted;

/// Limit of the bad end of the services' CPU time for a bet.
const RATIO_MAX: f64 = 1.03;

/// Measured rounds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measured {
    /// Release of the services, if `up` recorded it.
    pub(super) release: Option<String>,
    #[serde(flatten)]
    pub(super) pace: Pace,
    /// CPU time of A and of B in each second without a load.
    pub(super) idle_cpu_ms_per_s: [Cpu; 2],
    #[serde(flatten)]
    pub(super) machine: Machine,
    /// Telemetry that B lost in the rounds.
    #[serde(flatten)]
    pub(super) losses: Losses,
    /// All turns, as A, B, B, A.
    pub(super) rounds: Vec<[Turn; 4]>,
}

/// Result of the benchmark, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    bench: &'static str,
    #[serde(flatten)]
    measured: Measured,
    /// Probability with which each interval contains the median of its ratios.
    coverage_percent: f64,
    /// Limit of the bad end of the services' CPU time.
    ratio_max: f64,
    comparisons: Vec<Comparison>,
}

impl Report {
    /// Compares the platforms in all rounds, of which there has to be at least one.
    pub(super) fn of(measured: Measured) -> Self {
        Self {
            bench: super::NAME,
            coverage_percent: Ends::of(measured.rounds.len()).coverage * 100.0,
            ratio_max: RATIO_MAX,
            comparisons: Comparison::all(&FIGURES, &measured.rounds),
            measured,
        }
    }

    /// Lost telemetry of B, for people.
    fn lost(&self) -> String {
        let Losses { client_reports, drops } = &self.measured.losses;
        format!("counted {} · reported {}", kinds(drops), kinds(client_reports))
    }

    /// Bets of all turns.
    fn totals(&self) -> Totals {
        Totals::of(self.measured.rounds.iter().flatten().map(|turn| &turn.bets.measured.bets))
    }

    /// Lines about the profiles, the bets and the machine.
    fn circumstances(&self) -> Vec<String> {
        let Measured { release, pace, idle_cpu_ms_per_s: [a, b], machine, rounds, .. } = &self.measured;
        let limited = self.comparisons.iter().find(|comparison| comparison.is_limited);
        let bad_end = limited.map_or(f64::NAN, Comparison::bad_end);
        vec![
            "A: no profiles · B: continuous profiles of all services at 101 Hz".to_owned(),
            format!(
                "{} A B B A, each turn {pace}, {} players on each platform",
                counted(rounds.len(), "round"),
                pace.players
            ),
            self.totals().to_string(),
            format!(
                "bad end of B/A for the CPU time of the services: {bad_end:.3} (at most {})",
                self.ratio_max
            ),
            format!("lost telemetry of B: {}", self.lost()),
            machine.to_string(),
            format!(
                "idle CPU time: A {:.1} ms/s, of which services {:.1} · B {:.1} ms/s, of which services {:.1}",
                a.platform, a.services, b.platform, b.services
            ),
            format!("release: {}", release.as_deref().unwrap_or("unknown")),
        ]
    }

    /// Explains the figures, the ratios and their intervals.
    fn explanation(&self) -> String {
        let intervals = Ends::explanation(self.measured.rounds.len());
        format!(
            "Services: all of ours but the recorder, each of which is profiled in B. Platform: all processes. B/A, A/A and B/B are medians of one ratio a round. {intervals} Bad end: the upper end for B/A. A/A is the control: what the machine alone changes."
        )
    }
}

impl SheetReport for Report {
    fn sheet(&self) -> Sheet {
        Sheet {
            circumstances: self.circumstances(),
            grids: vec![Comparison::grid(&self.comparisons, A_AND_B)],
            charts: Comparison::charts(Comparison::limited(&self.comparisons), ["B/A", "A/A"], |_| {
                Some(self.ratio_max)
            }),
            explanation: self.explanation(),
        }
    }

    fn values(&self) -> usize {
        self.measured.rounds.len()
    }

    fn own_doubt(&self) -> Option<String> {
        self.totals().problem()
    }

    fn missed(&self) -> Option<String> {
        let excess = self.comparisons.iter().filter_map(|comparison| comparison.excess(self.ratio_max));
        let is_lost = !self.measured.losses.is_empty();
        let lost = is_lost.then(|| format!("telemetry of B was lost: {}", self.lost()));
        let misses: Vec<String> = excess.chain(lost).collect();
        (!misses.is_empty()).then(|| misses.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::bench::report::BenchReport as _;
    use crate::commands::bench::telemetry::turn::tests::round;

    fn measured(b: f64) -> Measured {
        Measured {
            release: None,
            pace: Pace { rate_per_s: 20, seconds: 15, warm_up_s: 3, players: 50 },
            idle_cpu_ms_per_s: [
                Cpu { services: 40.0, platform: 90.0 },
                Cpu { services: 42.0, platform: 95.0 },
            ],
            machine: Machine { fsync_ms: 1.25, steal_percent: 0.5 },
            losses: Losses::default(),
            rounds: vec![round([10.0, b, b, 10.0]); 7],
        }
    }

    #[test]
    fn profiles_may_cost_three_percent() {
        assert_eq!(Report::of(measured(10.29)).problem(), None);
        let problem = Report::of(measured(10.4)).problem().unwrap();
        assert!(problem.contains("is 1.040 (at most 1.03"), "{problem}");
    }

    #[test]
    fn lost_chunk_is_a_miss() {
        let mut measured = measured(10.0);
        measured.losses.drops.insert("game queue_overflow profile_chunk".to_owned(), 1);
        let problem = Report::of(measured).problem().unwrap();
        assert!(problem.contains("counted game queue_overflow profile_chunk 1"), "{problem}");
    }

    #[test]
    fn json_has_the_goal_and_all_turns() {
        let json = serde_json::to_value(Report::of(measured(10.2))).unwrap();
        assert_eq!((json["bench"].as_str(), json["ratio_max"].as_f64()), (Some("profiles"), Some(1.03)));
        assert_eq!(json["rounds"][6][1]["services_cpu_ms_per_bet"], 10.2);
        assert_eq!(json["comparisons"][0]["figure"], "services_cpu_ms_per_bet");
    }
}
