//! The report: what the rounds say about the consumers of the platform beside the bare one.

use std::collections::BTreeMap;

use serde::Serialize;

use super::turn::Turn;
use crate::commands::bench::comparison::{CHAIN_COLUMNS, Comparison, Figure, chain_explanation};
use crate::commands::bench::consumer::Consumer;
use crate::commands::bench::cost::report::kinds;
use crate::commands::bench::order_statistics::Ends;
use crate::commands::bench::pace::Pace;
use crate::commands::bench::report::{Sheet, SheetReport};
use crate::commands::bench::rounds::Machine;
use crate::commands::bench::turn::{add, rejections};
use crate::output::counted;

/// Limit of the ratios.
const RATIO_MAX: f64 = 1.1;

/// Requested measurement.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Setup {
    /// Release of the services, if `up` recorded it.
    pub(super) release: Option<String>,
    #[serde(flatten)]
    pub(super) pace: Pace,
}

/// Measured rounds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measured {
    #[serde(flatten)]
    pub(super) setup: Setup,
    #[serde(flatten)]
    pub(super) machine: Machine,
    /// All turns by the consumer of the platform, as chain, platform, platform, chain. Consumers share the turns of the chain.
    pub(super) rounds: BTreeMap<Consumer, Vec<[Turn; 4]>>,
}

/// Result of the benchmark, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    bench: &'static str,
    #[serde(flatten)]
    measured: Measured,
    /// Probability with which each interval contains the median of its ratios.
    coverage_percent: f64,
    ratio_max: f64,
    comparisons: Vec<Comparison>,
}

/// The figure that is compared.
const fn figure(killed: Consumer) -> Figure<Turn> {
    let (name, title) = match killed {
        Consumer::Game => ("game_recovery_s", "game: s to the next settled bet"),
        Consumer::Payment => ("payment_recovery_s", "payment: s to the next settled bet"),
    };
    Figure::less(name, title, true, |turn| turn.recovery_s)
}

impl Report {
    /// Compares the turns of all rounds, of which there has to be at least one for each consumer.
    pub(super) fn of(measured: Measured) -> Self {
        let compared = measured.rounds.iter();
        let compared = compared.flat_map(|(killed, rounds)| Comparison::all(&[figure(*killed)], rounds));
        Self {
            bench: super::NAME,
            coverage_percent: Ends::of(measured.count()).coverage * 100.0,
            ratio_max: RATIO_MAX,
            comparisons: compared.collect(),
            measured,
        }
    }

    /// Lines about the kills and the machine.
    fn circumstances(&self) -> Vec<String> {
        let Measured { setup: Setup { release, pace }, machine, rounds } = &self.measured;
        let killed: Vec<&str> = rounds.keys().map(|consumer| consumer.as_str()).collect();
        let there = killed.join(", ");
        let back: Vec<&str> = killed.iter().rev().copied().collect();
        vec![
            format!(
                "{} chain, {there}, {}, chain: one kill in each turn, {pace}, {} players on each side",
                counted(self.measured.count(), "round"),
                back.join(", "),
                pace.players
            ),
            format!("goal: the bad end of each ratio is at most {RATIO_MAX}"),
            machine.to_string(),
            format!("release: {}", release.as_deref().unwrap_or("unknown")),
        ]
    }
}

impl Measured {
    /// Number of rounds.
    fn count(&self) -> usize {
        self.rounds.values().map(Vec::len).min().unwrap_or_default()
    }

    /// All turns. Those of the chain are there once for each consumer of the platform.
    fn turns(&self) -> impl Iterator<Item = &Turn> {
        self.rounds.values().flatten().flatten()
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
                |_| Some(RATIO_MAX),
            ),
            explanation: chain_explanation(self.measured.count()),
        }
    }

    fn values(&self) -> usize {
        self.measured.count()
    }

    /// Says why the figures are not those of a platform that worked before each kill. `None` if they are.
    fn own_doubt(&self) -> Option<String> {
        let mut errors = BTreeMap::new();
        self.measured.turns().for_each(|turn| add(&mut errors, &turn.errors_before));
        if !errors.is_empty() {
            return Some(format!("bets before a kill were not settled in time: {}", kinds(&errors)));
        }
        rejections(self.measured.turns().map(|turn| turn.rejected).sum())
    }

    fn missed(&self) -> Option<String> {
        Comparison::problem(&self.comparisons, RATIO_MAX, "platform/chain")
    }
}

#[cfg(test)]
mod tests {
    use super::super::turn::Victim;
    use super::*;
    use crate::commands::bench::report::BenchReport as _;

    fn turn(killed: Victim, recovery_s: f64) -> Turn {
        Turn {
            killed,
            recovery_s,
            sent: 240,
            settled: 150,
            rejected: 0,
            errors: BTreeMap::from([("not_in_time".to_owned(), 90)]),
            errors_before: BTreeMap::new(),
        }
    }

    /// Rounds in which the chain needs 5 s, game 5 s, and payment this time.
    fn measured(payment_s: &[f64]) -> Measured {
        let round = |consumer: Consumer, recovery_s: f64| {
            let (chain, platform) = (turn(Victim::Chain, 5.0), turn(Victim::Platform(consumer), recovery_s));
            [chain.clone(), platform.clone(), platform, chain]
        };
        let game = payment_s.iter().map(|_| round(Consumer::Game, 5.0));
        let payment = payment_s.iter().map(|seconds| round(Consumer::Payment, *seconds));
        Measured {
            setup: Setup {
                release: None,
                pace: Pace { rate_per_s: 20, seconds: 12, warm_up_s: 3, players: 50 },
            },
            machine: Machine { fsync_ms: 1.25, steal_percent: 0.5 },
            rounds: BTreeMap::from([
                (Consumer::Game, game.collect()),
                (Consumer::Payment, payment.collect()),
            ]),
        }
    }

    #[test]
    fn slowest_rounds_decide_about_the_goal() {
        assert_eq!(Report::of(measured(&[5.0, 5.5, 4.5, 5.0, 5.0, 5.0])).problem(), None);
        let problem = Report::of(measured(&[5.0, 6.0, 4.5, 5.0, 5.0, 5.0])).problem();
        let expected = "the bad end of platform/chain is beyond its limit: \
                        payment: s to the next settled bet 1.200 (at most 1.1)";
        assert_eq!(problem.as_deref(), Some(expected));
    }

    #[test]
    fn too_few_rounds_are_a_doubt() {
        let doubt = Report::of(measured(&[5.0; 5])).doubt();
        assert!(doubt.is_some_and(|doubt| doubt.contains("needs at least 6")));
        assert_eq!(Report::of(measured(&[5.0; 6])).doubt(), None);
    }

    #[test]
    fn errors_before_a_kill_are_a_doubt() {
        let mut rounds = measured(&[5.0]);
        let turn = rounds.rounds.get_mut(&Consumer::Payment).and_then(|rounds| rounds[0].get_mut(2)).unwrap();
        turn.rejected = 2;
        let doubt = Report::of(rounds.clone()).doubt().unwrap();
        assert!(doubt.starts_with("2 bets were rejected"), "{doubt}");
        let turn = rounds.rounds.get_mut(&Consumer::Game).and_then(|rounds| rounds[0].get_mut(1)).unwrap();
        turn.errors_before.insert("not_in_time".to_owned(), 3);
        let doubt = Report::of(rounds).doubt().unwrap();
        assert_eq!(doubt, "bets before a kill were not settled in time: not_in_time 3");
    }

    #[test]
    fn page_has_a_row_for_each_consumer() {
        let page = Report::of(measured(&[5.5; 7])).to_markdown();
        for line in [
            "- 7 rounds chain, game, payment, payment, game, chain: one kill in each turn, 20 bets/s for 12 s after 3 s of warm-up, 50 players on each side",
            "| game: s to the next settled bet | 5.00 | 5.00 | 1.000 | 1.000–1.000 | 1.000 | 1.000 | 1.000–1.000 | 1.000 | 1.000–1.000 |",
            "| payment: s to the next settled bet | 5.00 | 5.50 | 1.100 | 1.100–1.100 | 1.100 | 1.000 | 1.000–1.000 | 1.000 | 1.000–1.000 |",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
    }

    #[test]
    fn json_has_all_turns_of_each_consumer() {
        let json = serde_json::to_value(Report::of(measured(&[5.5; 2]))).unwrap();
        let killed = [0, 1, 2, 3].map(|turn: usize| json["rounds"]["payment"][1][turn]["killed"].clone());
        assert_eq!(killed, ["chain", "payment", "payment", "chain"]);
        assert_eq!(json["bench"], "recovery");
        assert_eq!(json["seconds"], 12);
        assert_eq!(json["comparisons"][1]["figure"], "payment_recovery_s");
        assert_eq!(json["rounds"]["game"][0][1]["errors"]["not_in_time"], 90);
    }
}
