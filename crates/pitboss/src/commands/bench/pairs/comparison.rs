//! The arithmetic: from the figures of all turns to ratios of the two builds, with the controls of each build against itself.

use serde::Serialize;

use super::order_statistics::Estimate;
use super::turn::Turn;

/// A round: the turns A, B, B, A.
pub(super) type Round = [Turn; 4];

/// A figure of a turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figure {
    /// Name in JSON.
    pub(super) name: &'static str,
    /// Name for people.
    pub(super) title: &'static str,
    /// Returns true if the limit of `--ratio-max` applies to it.
    pub(super) is_limited: bool,
    of: fn(&Turn) -> f64,
}

/// The figures that are compared. The 95th and the 99th percentile of a turn are those of a few bets, so no limit applies to them.
pub(super) const FIGURES: [Figure; 4] = [
    Figure { name: "p50_ms", title: "p50 ms", is_limited: true, of: |turn| turn.latency_ms.p50 },
    Figure { name: "p95_ms", title: "p95 ms", is_limited: false, of: |turn| turn.latency_ms.p95 },
    Figure { name: "p99_ms", title: "p99 ms", is_limited: false, of: |turn| turn.latency_ms.p99 },
    Figure { name: "cpu_ms_per_bet", title: "CPU ms/bet", is_limited: true, of: |turn| turn.cpu_ms_per_bet },
];

/// One ratio for each round, with the estimate of their median.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Ratios {
    pub(super) rounds: Vec<f64>,
    #[serde(flatten)]
    pub(super) estimate: Estimate,
}

/// Result of the rounds for one figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Comparison {
    pub(super) figure: &'static str,
    #[serde(skip)]
    pub(super) title: &'static str,
    #[serde(skip)]
    pub(super) is_limited: bool,
    /// Median over the turns of A.
    pub(super) a: f64,
    /// Median over the turns of B.
    pub(super) b: f64,
    /// Mean of the turns of B divided by the mean of the turns of A. The upper end of its interval is the bad end, because less is
    /// better for every figure.
    pub(super) b_over_a: Ratios,
    /// Second turn of A divided by the first: what the machine alone changes.
    pub(super) a_over_a: Ratios,
    /// Second turn of B divided by the first.
    pub(super) b_over_b: Ratios,
}

impl Comparison {
    /// Compares one figure. There has to be at least one round.
    fn of(figure: Figure, rounds: &[Round]) -> Self {
        let values: Vec<[f64; 4]> = rounds.iter().map(|round| round.each_ref().map(figure.of)).collect();
        let ratios = |of: fn(&[f64; 4]) -> f64| Ratios::of(values.iter().map(of).collect());
        let turns = |of: fn(&[f64; 4]) -> [f64; 2]| {
            let values: Vec<f64> = values.iter().flat_map(of).collect();
            Estimate::of(&values).median
        };
        Self {
            figure: figure.name,
            title: figure.title,
            is_limited: figure.is_limited,
            a: turns(|[a1, _, _, a2]| [*a1, *a2]),
            b: turns(|[_, b1, b2, _]| [*b1, *b2]),
            b_over_a: ratios(|[a1, b1, b2, a2]| ratio(f64::midpoint(*b1, *b2), f64::midpoint(*a1, *a2))),
            a_over_a: ratios(|[a1, _, _, a2]| ratio(*a2, *a1)),
            b_over_b: ratios(|[_, b1, b2, _]| ratio(*b2, *b1)),
        }
    }

    /// Compares all figures.
    pub(super) fn all(rounds: &[Round]) -> Vec<Self> {
        FIGURES.iter().map(|figure| Self::of(*figure, rounds)).collect()
    }

    /// Returns true if the figure has a limit, and the bad end of its interval is above it.
    pub(super) fn exceeds(&self, ratio_max: f64) -> bool {
        self.is_limited && self.b_over_a.estimate.high > ratio_max
    }
}

impl Ratios {
    fn of(rounds: Vec<f64>) -> Self {
        Self { estimate: Estimate::of(&rounds), rounds }
    }
}

/// One value divided by another. Infinite if the other is 0: CPU time that is too short for the kernel's clock is not a proof of
/// anything, and must not be within a limit.
fn ratio(value: f64, base: f64) -> f64 {
    if base > 0.0 { value / base } else { f64::INFINITY }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::super::platform::Side;
    use super::*;
    use crate::load_generator::load_report::LatencyMs;

    /// A round whose turns have these medians and, multiplied by 10, this CPU time.
    pub(in super::super) fn round(p50_ms: [f64; 4]) -> Round {
        let turn = |side, p50| Turn {
            side,
            seconds: 15.0,
            sent: 300,
            settled: 300,
            rejected: 0,
            errors: BTreeMap::new(),
            latency_ms: LatencyMs { p50, p95: 20.0, p99: 30.0, max: 40.0 },
            cpu_ms: p50 * 3_000.0,
            cpu_ms_per_bet: p50 * 10.0,
            steal_percent: 0.0,
        };
        let [a1, b1, b2, a2] = p50_ms;
        [turn(Side::A, a1), turn(Side::B, b1), turn(Side::B, b2), turn(Side::A, a2)]
    }

    #[test]
    fn ratios_are_those_of_each_round() {
        let rounds = [round([4.0, 2.0, 3.0, 6.0]), round([5.0, 5.0, 5.0, 5.0]), round([4.0, 4.0, 8.0, 4.0])];
        let all = Comparison::all(&rounds);
        let [p50, p95, _, cpu] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!(p50.b_over_a.rounds, [0.5, 1.0, 1.5]);
        assert_eq!(p50.a_over_a.rounds, [1.5, 1.0, 1.0]);
        assert_eq!(p50.b_over_b.rounds, [1.5, 1.0, 2.0]);
        assert_eq!(p50.b_over_a.estimate, Estimate { median: 1.0, low: 0.5, high: 1.5 });
        assert_eq!((p50.a, p50.b), (4.5, 4.5));
        assert_eq!((cpu.a, cpu.b_over_a.rounds.as_slice()), (45.0, p50.b_over_a.rounds.as_slice()));
        assert_eq!(p95.b_over_a.rounds, [1.0; 3]);
    }

    #[test]
    fn bad_end_decides_and_not_the_median() {
        let rounds = [round([4.0, 4.0, 4.0, 4.0]), round([4.0, 4.0, 4.0, 4.0]), round([4.0, 5.0, 5.0, 4.0])];
        let all = Comparison::all(&rounds);
        let exceeding = |ratio_max| {
            let all = all.iter().filter(|comparison| comparison.exceeds(ratio_max));
            all.map(|comparison| comparison.figure).collect::<Vec<_>>()
        };
        assert_eq!(exceeding(1.2), ["p50_ms", "cpu_ms_per_bet"]);
        assert!(exceeding(1.25).is_empty());
        assert_eq!(exceeding(0.9).len(), 2, "p95 and p99 have no limit");
    }

    #[test]
    fn time_that_was_not_measured_exceeds_each_limit() {
        let all = Comparison::all(&[round([0.0; 4])]);
        assert!(all.iter().filter(|comparison| comparison.exceeds(1e9)).count() == 2, "{all:?}");
    }

    #[test]
    fn json_has_the_estimate_beside_the_ratios() {
        let json = serde_json::to_value(Comparison::all(&[round([4.0, 5.0, 5.0, 4.0])])).unwrap();
        assert_eq!(json[0]["figure"], "p50_ms");
        assert_eq!(
            json[0]["b_over_a"],
            serde_json::json!({ "rounds": [1.25], "median": 1.25, "low": 1.25, "high": 1.25 })
        );
        assert_eq!(json[0].get("title"), None);
    }
}
