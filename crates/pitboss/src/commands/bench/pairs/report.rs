//! The report: what was compared, under which circumstances, and what the rounds say.

use std::fmt;

use serde::Serialize;

use super::comparison::{FIGURES, Round};
use crate::commands::bench::comparison::{A_AND_B, Comparison};
use crate::commands::bench::median;
use crate::commands::bench::order_statistics::Ends;
use crate::commands::bench::pace::Pace;
use crate::commands::bench::platform::Platform;
use crate::commands::bench::report::{Sheet, SheetReport};
use crate::commands::bench::rounds::Machine;
use crate::commands::bench::turn::Totals;
use crate::output::counted;

/// One of the two builds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Build {
    /// Root of its checkout.
    checkout: String,
    /// Release of its services, if `up` recorded it.
    release: Option<String>,
}

/// Measured rounds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measured {
    /// The builds A and B.
    pub(super) builds: [Build; 2],
    #[serde(flatten)]
    pub(super) pace: Pace,
    /// CPU time of A and of B in each second without a load.
    pub(super) idle_cpu_ms_per_s: [f64; 2],
    #[serde(flatten)]
    pub(super) machine: Machine,
    /// Faults that were armed on B for a turn before each round, and disarmed.
    pub(super) after_faults: Vec<&'static str>,
    /// The p50 of A and of B in each of these turns.
    pub(super) faulted_p50_ms: Vec<[f64; 2]>,
    /// All turns, as A, B, B, A.
    pub(super) rounds: Vec<Round>,
}

/// Result of the benchmark, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    bench: &'static str,
    #[serde(flatten)]
    measured: Measured,
    /// Probability with which each interval contains the median of its ratios.
    coverage_percent: f64,
    /// Limit of the bad ends, if one was given.
    ratio_max: Option<f64>,
    comparisons: Vec<Comparison>,
}

impl Build {
    /// The build of a running platform.
    pub(super) fn of(platform: &Platform) -> Self {
        Self { checkout: platform.layout.root().display().to_string(), release: platform.release() }
    }
}

impl Report {
    /// Compares the builds in all rounds, of which there has to be at least one.
    pub(super) fn of(measured: Measured, ratio_max: Option<f64>) -> Self {
        Self {
            bench: "pairs",
            coverage_percent: Ends::of(measured.rounds.len()).coverage * 100.0,
            comparisons: Comparison::all(&FIGURES, &measured.rounds),
            ratio_max,
            measured,
        }
    }

    /// Bets of all turns.
    fn totals(&self) -> Totals {
        Totals::of(self.measured.rounds.iter().flatten().map(|turn| &turn.measured.bets))
    }

    /// Lines about the builds, the bets and the machine.
    fn circumstances(&self) -> Vec<String> {
        let Measured { builds: [a, b], pace, idle_cpu_ms_per_s: [idle_a, idle_b], machine, rounds, .. } =
            &self.measured;
        [
            format!("A (base): {a}"),
            format!("B (new): {b}"),
            format!(
                "{} A B B A, each turn {pace}, {} players on each platform",
                counted(rounds.len(), "round"),
                pace.players
            ),
            self.totals().to_string(),
            machine.to_string(),
            format!("idle CPU time: A {idle_a:.1} ms/s · B {idle_b:.1} ms/s"),
        ]
        .into_iter()
        .chain(self.faulted())
        .collect()
    }

    /// Line about the faults of B.
    fn faulted(&self) -> Option<String> {
        let Measured { after_faults, faulted_p50_ms, .. } = &self.measured;
        let median_of = |side: usize| {
            let values: Vec<f64> = faulted_p50_ms.iter().map(|both| both[side]).collect();
            median(&values)
        };
        (!after_faults.is_empty()).then(|| {
            format!(
                "before each round, a turn with {} armed on B: median of its p50 A {:.1} ms · B {:.1} ms",
                after_faults.join(", "),
                median_of(0),
                median_of(1),
            )
        })
    }

    /// Explains the intervals.
    fn explanation(&self) -> String {
        let intervals = Ends::explanation(self.measured.rounds.len());
        format!(
            "B/A, A/A and B/B are medians of one ratio a round. {intervals} Bad end: the upper end for B/A."
        )
    }
}

impl SheetReport for Report {
    fn sheet(&self) -> Sheet {
        Sheet {
            circumstances: self.circumstances(),
            grids: vec![Comparison::grid(&self.comparisons, A_AND_B)],
            charts: Comparison::charts(Comparison::limited(&self.comparisons), ["B/A", "A/A"], |_| {
                self.ratio_max
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
        let ratio_max = self.ratio_max?;
        let exceeding = self.comparisons.iter().filter(|comparison| comparison.exceeds(ratio_max));
        let ends: Vec<String> =
            exceeding.map(|comparison| format!("{} {:.3}", comparison.title, comparison.bad_end())).collect();
        (!ends.is_empty())
            .then(|| format!("the bad end of B/A is above the limit of {ratio_max}: {}", ends.join(", ")))
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, release {}", self.checkout, self.release.as_deref().unwrap_or("unknown"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::bench::contender::tests::round;
    use crate::commands::bench::report::BenchReport as _;

    fn report(rounds: Vec<Round>, ratio_max: Option<f64>) -> Report {
        let build = |name: &str| Build { checkout: format!("/{name}"), release: None };
        let measured = Measured {
            builds: [build("base"), build("new")],
            pace: Pace { rate_per_s: 20, seconds: 15, warm_up_s: 3, players: 50 },
            idle_cpu_ms_per_s: [90.0, 60.0],
            machine: Machine { fsync_ms: 1.25, steal_percent: 0.5 },
            after_faults: vec!["user.n-plus-one"],
            faulted_p50_ms: vec![[4.0, 500.0], [5.0, 502.0]],
            rounds,
        };
        Report::of(measured, ratio_max)
    }

    #[test]
    fn limit_applies_to_the_bad_end() {
        let rounds = || {
            let mut rounds = vec![round([4.0; 4]); 5];
            rounds.push(round([4.0, 5.0, 5.0, 4.0]));
            rounds
        };
        assert_eq!(report(rounds(), None).problem(), None);
        assert_eq!(report(rounds(), Some(1.25)).problem(), None);
        let problem = report(rounds(), Some(1.2)).problem();
        let expected = "the bad end of B/A is above the limit of 1.2: p50 ms 1.250, CPU ms/bet 1.250";
        assert_eq!(problem.as_deref(), Some(expected));
    }

    #[test]
    fn unanswered_bet_is_a_problem_without_a_limit() {
        let mut rounds = vec![round([4.0; 4]), round([4.0; 4])];
        rounds[0][1].measured.bets.errors.insert("timeout".to_owned(), 1);
        let expected = "1 bets were not answered with 200: timeout 1";
        assert_eq!(report(rounds, None).problem().as_deref(), Some(expected));
    }

    #[test]
    fn rejected_bet_is_a_problem() {
        let mut rounds = vec![round([4.0; 4]), round([4.0; 4])];
        rounds[1][2].measured.bets.rejected = 3;
        let expected = "3 bets were rejected, although each player has money for all of them";
        assert_eq!(report(rounds, None).problem().as_deref(), Some(expected));
    }

    #[test]
    fn text_has_the_figures_and_their_interval() {
        let text = report(vec![round([4.0, 2.0, 2.0, 4.0]); 7], None).to_text(160);
        for part in [
            "A (base): /base, release unknown",
            "8400 bets: settled 8400 · rejected 0 · errors none",
            "0.5 % of the rounds",
            "idle CPU time: A 90.0 ms/s · B 60.0 ms/s",
            "with user.n-plus-one armed on B: median of its p50 A 4.5 ms · B 501.0 ms",
            "CPU ms/bet",
            "0.500–0.500",
            "from the smallest to the largest of 7 ratios, which contains the median with 98.4 % (sign test). Bad",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn too_few_rounds_are_reported() {
        let explanation = |rounds| report(vec![round([4.0; 4]); rounds], None).explanation();
        let five = explanation(5);
        let doubt = report(vec![round([4.0; 4]); 5], None).problem();
        assert!(doubt.is_some_and(|doubt| doubt.contains("needs at least 6")), "also without a limit");
        assert!(five.contains("93.8 %") && five.contains("at least 95 % are not possible with 5"), "{five}");
        let nine = explanation(9);
        assert!(nine.contains("without the 1 smallest") && !nine.contains("not possible"), "{nine}");
    }

    #[test]
    fn json_has_all_turns() {
        let json = serde_json::to_value(report(vec![round([4.0; 4]); 2], Some(1.1))).unwrap();
        let sides =
            |round: usize| [0, 1, 2, 3].map(|turn: usize| json["rounds"][round][turn]["side"].clone());
        assert_eq!(sides(1), ["A", "B", "B", "A"]);
        assert_eq!(json["bench"], "pairs");
        assert_eq!(json["rate_per_s"], 20);
        assert_eq!(json["comparisons"].as_array().map(Vec::len), Some(4));
    }
}
