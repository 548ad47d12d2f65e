//! The figures of a turn that are compared between the two builds.

use crate::commands::bench::comparison::Figure;
use crate::commands::bench::contender::Turn;

/// A round: the turns A, B, B, A.
pub(super) type Round = [Turn; 4];

/// The figures that are compared. The 95th and the 99th percentile of a turn are those of a few bets, so no limit applies to them.
pub(super) const FIGURES: [Figure<Turn>; 4] = [
    Figure::less("p50_ms", "p50 ms", true, |turn| turn.measured.bets.latency_ms.p50),
    Figure::less("p95_ms", "p95 ms", false, |turn| turn.measured.bets.latency_ms.p95),
    Figure::less("p99_ms", "p99 ms", false, |turn| turn.measured.bets.latency_ms.p99),
    Figure::less("cpu_ms_per_bet", "CPU ms/bet", true, |turn| turn.measured.cpu_ms_per_bet),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::bench::comparison::Comparison;
    use crate::commands::bench::contender::tests::round;
    use crate::commands::bench::order_statistics::Estimate;

    #[test]
    fn ratios_are_those_of_each_round() {
        let rounds = [round([4.0, 2.0, 3.0, 6.0]), round([5.0, 5.0, 5.0, 5.0]), round([4.0, 4.0, 8.0, 4.0])];
        let all = Comparison::all(&FIGURES, &rounds);
        let [p50, _, _, cpu] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!(p50.b_over_a.rounds, [0.5, 1.0, 1.5]);
        assert_eq!(p50.a_over_a.rounds, [1.5, 1.0, 1.0]);
        assert_eq!(p50.b_over_b.rounds, [1.5, 1.0, 2.0]);
        assert_eq!(p50.b_over_a.estimate, Estimate { median: 1.0, low: 0.5, high: 1.5 });
        assert_eq!((p50.a, p50.b), (4.5, 4.5));
        assert_eq!((cpu.a, cpu.b_over_a.rounds.as_slice()), (45.0, p50.b_over_a.rounds.as_slice()));
    }

    #[test]
    fn bad_end_decides_and_not_the_median() {
        let rounds = [round([4.0, 4.0, 4.0, 4.0]), round([4.0, 4.0, 4.0, 4.0]), round([4.0, 5.0, 5.0, 4.0])];
        let all = Comparison::all(&FIGURES, &rounds);
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
        let all = Comparison::all(&FIGURES, &[round([0.0; 4])]);
        assert!(all.iter().filter(|comparison| comparison.exceeds(1e9)).count() == 2, "{all:?}");
    }

    #[test]
    fn json_has_the_estimate_beside_the_ratios() {
        let json = serde_json::to_value(Comparison::all(&FIGURES, &[round([4.0, 5.0, 5.0, 4.0])])).unwrap();
        assert_eq!(json[0]["figure"], "p50_ms");
        assert_eq!(
            json[0]["b_over_a"],
            serde_json::json!({ "rounds": [1.25], "median": 1.25, "low": 1.25, "high": 1.25 })
        );
        assert_eq!(json[0].get("title"), None);
    }
}
