//! The report: what the rounds say about the cost of telemetry at one sample rate.

use serde::Serialize;

use super::turn::{Cpu, FIGURES, Turn};
use super::whole::Whole;
use crate::commands::bench::comparison::{A_AND_B, Comparison};
use crate::commands::bench::cost::report::kinds;
use crate::commands::bench::order_statistics::Ends;
use crate::commands::bench::pace::Pace;
use crate::commands::bench::report::{Sheet, SheetReport};
use crate::commands::bench::rounds::Machine;
use crate::commands::bench::turn::Totals;
use crate::load_generator::losses::Losses;
use crate::output::counted;

/// Limits of the bad end of the services' CPU time for a bet: (up to this sample rate, limit).
const LIMITS: [(f64, f64); 3] = [(0.0, 1.02), (0.1, 1.06), (1.0, 1.35)];

/// Measured rounds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measured {
    /// Release of the services, if `up` recorded it.
    pub(super) release: Option<String>,
    /// Share of new traces that B records.
    pub(super) sample_rate: f64,
    #[serde(flatten)]
    pub(super) pace: Pace,
    /// CPU time of A and of B in each second without a load.
    pub(super) idle_cpu_ms_per_s: [Cpu; 2],
    #[serde(flatten)]
    pub(super) machine: Machine,
    /// Traces of the bets of B. Absent unless B records all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) traces: Option<Whole>,
    /// Telemetry that B lost in the rounds.
    #[serde(flatten)]
    pub(super) losses: Losses,
    /// All turns, as A, B, B, A.
    pub(super) rounds: Vec<[Turn; 4]>,
}

/// Result of the benchmark for one sample rate, as `--json` prints it.
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

/// Limit for a sample rate. A rate between two others has the limit of the higher one.
fn ratio_max(sample_rate: f64) -> f64 {
    let limit = LIMITS.iter().find(|(up_to, _)| sample_rate <= *up_to);
    limit.map_or(f64::NAN, |(_, ratio_max)| *ratio_max)
}

impl Report {
    /// Compares the platforms in all rounds, of which there has to be at least one.
    pub(super) fn of(measured: Measured) -> Self {
        Self {
            bench: super::NAME,
            coverage_percent: Ends::of(measured.rounds.len()).coverage * 100.0,
            ratio_max: ratio_max(measured.sample_rate),
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

    /// Lines about the telemetry, the bets and the machine.
    fn circumstances(&self) -> Vec<String> {
        let Measured {
            release, sample_rate, pace, idle_cpu_ms_per_s: [a, b], machine, traces, rounds, ..
        } = &self.measured;
        let limited = self.comparisons.iter().find(|comparison| comparison.is_limited);
        let bad_end = limited.map_or(f64::NAN, Comparison::bad_end);
        [
            format!("A: no telemetry · B: telemetry to its recorder, sample rate {sample_rate}"),
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
        ]
        .into_iter()
        .chain(traces.as_ref().map(|traces| format!("complete traces of settled bets of B: {traces}")))
        .chain([
            format!("lost telemetry of B: {}", self.lost()),
            machine.to_string(),
            format!(
                "idle CPU time: A {:.1} ms/s, of which services {:.1} · B {:.1} ms/s, of which services {:.1}",
                a.platform, a.services, b.platform, b.services
            ),
            format!("release: {}", release.as_deref().unwrap_or("unknown")),
        ])
        .collect()
    }

    /// Explains the figures, the ratios and their intervals.
    fn explanation(&self) -> String {
        let intervals = Ends::explanation(self.measured.rounds.len());
        format!(
            "Services: all of ours but the recorder. Platform: all processes. B/A, A/A and B/B are medians of one ratio a round. {intervals} Bad end: the upper end for B/A. A/A is the control: what the machine alone changes."
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
        let Measured { traces, losses, .. } = &self.measured;
        let excess = self.comparisons.iter().filter_map(|comparison| comparison.excess(self.ratio_max));
        let incomplete = traces.as_ref().and_then(Whole::problem);
        let lost = (!losses.is_empty()).then(|| format!("telemetry of B was lost: {}", self.lost()));
        let misses: Vec<String> = excess.chain(incomplete).chain(lost).collect();
        (!misses.is_empty()).then(|| misses.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::super::turn::tests::round;
    use super::*;
    use crate::commands::bench::report::BenchReport as _;

    fn measured(sample_rate: f64, rounds: Vec<[Turn; 4]>) -> Measured {
        Measured {
            release: None,
            sample_rate,
            pace: Pace { rate_per_s: 20, seconds: 15, warm_up_s: 3, players: 50 },
            idle_cpu_ms_per_s: [
                Cpu { services: 40.0, platform: 90.0 },
                Cpu { services: 42.0, platform: 95.0 },
            ],
            machine: Machine { fsync_ms: 1.25, steal_percent: 0.5 },
            traces: Some(Whole { settled: 5_040, complete: 5_040, first_defects: Vec::new() }),
            losses: Losses::default(),
            rounds,
        }
    }

    /// Seven rounds in which B used as much as A but for the last one.
    fn rounds(last_of_b: f64) -> Vec<[Turn; 4]> {
        let mut rounds = vec![round([10.0; 4]); 6];
        rounds.push(round([10.0, last_of_b, last_of_b, 10.0]));
        rounds
    }

    #[test]
    fn limit_depends_on_the_sample_rate() {
        let limits = [0.0, 0.05, 0.1, 0.5, 1.0].map(ratio_max);
        assert_eq!(limits, [1.02, 1.06, 1.06, 1.35, 1.35]);
        let problem = |sample_rate, last_of_b| Report::of(measured(sample_rate, rounds(last_of_b))).problem();
        assert_eq!(problem(0.0, 10.2), None);
        assert_eq!(problem(0.1, 10.5), None);
        assert_eq!(problem(1.0, 13.4), None);
        let expected =
            "the bad end of B/A for services CPU ms/bet is 1.050 (at most 1.02, and A/A is 1.000–1.000)";
        assert_eq!(problem(0.0, 10.5).as_deref(), Some(expected));
        assert!(problem(1.0, 13.6).is_some());
    }

    #[test]
    fn incomplete_trace_and_loss_are_no_doubt() {
        let mut measured = measured(1.0, rounds(10.0));
        measured.traces = Some(Whole { settled: 10, complete: 9, first_defects: Vec::new() });
        measured.losses.drops.insert("game queue_overflow span".to_owned(), 3);
        let report = Report::of(measured);
        let problem = report.problem().unwrap();
        for part in ["only 9 of 10 traces", "telemetry of B was lost: counted game queue_overflow span 3"] {
            assert!(problem.contains(part), "{problem}");
        }
        assert_eq!(report.doubt(), None);
    }

    #[test]
    fn late_bet_or_too_few_rounds_are_a_doubt() {
        let mut late = rounds(10.0);
        late[0][1].bets.measured.bets.errors.insert("not_in_time".to_owned(), 2);
        let doubt = Report::of(measured(0.0, late)).doubt();
        assert_eq!(doubt.as_deref(), Some("2 bets were not answered with 200: not_in_time 2"));
        let few = Report::of(measured(0.0, vec![round([10.0; 4]); 5]));
        assert!(few.doubt().is_some_and(|doubt| doubt.contains("needs at least 6")));
    }

    #[test]
    fn page_has_the_goal_and_the_traces() {
        let page = Report::of(measured(1.0, rounds(12.0))).to_markdown();
        for line in [
            "- A: no telemetry · B: telemetry to its recorder, sample rate 1",
            "- bad end of B/A for the CPU time of the services: 1.200 (at most 1.35)",
            "- complete traces of settled bets of B: 5040 of 5040 (100.00 %)",
            "- lost telemetry of B: counted none · reported none",
            "- idle CPU time: A 90.0 ms/s, of which services 40.0 · B 95.0 ms/s, of which services 42.0",
            "| services CPU ms/bet | 10.00 | 10.00 | 1.000 | 1.000–1.200 | 1.200 | 1.000 | 1.000–1.000 | 1.000 | 1.000–1.000 |",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        let unsampled = Measured { traces: None, ..measured(0.0, rounds(10.0)) };
        assert!(!Report::of(unsampled).to_markdown().contains("complete traces"));
    }

    #[test]
    fn json_has_the_goal_and_all_turns() {
        let json = serde_json::to_value(Report::of(measured(0.1, rounds(10.5)))).unwrap();
        assert_eq!((json["bench"].as_str(), json["sample_rate"].as_f64()), (Some("telemetry"), Some(0.1)));
        assert_eq!((json["ratio_max"].as_f64(), json["rate_per_s"].as_u64()), (Some(1.06), Some(20)));
        assert_eq!(json["traces"]["complete"], 5_040);
        assert_eq!(json["idle_cpu_ms_per_s"][1]["services"], 42.0);
        assert_eq!(json["rounds"][6][1]["side"], "B");
        assert_eq!(json["rounds"][6][1]["services_cpu_ms_per_bet"], 10.5);
        assert_eq!(json["drops"], serde_json::json!({}));
        assert_eq!(json["comparisons"][0]["figure"], "services_cpu_ms_per_bet");
    }
}
