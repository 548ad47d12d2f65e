//! How memory grows with the number of events, as a robust slope with an interval.
//!
//! Each round is compared with the one half a run later, and each of these pairs has a slope. No two pairs share a round, so the
//! slopes are independent, and the sign test gives an interval of their median (Theil's method).

use serde::Serialize;

use crate::commands::bench::order_statistics::Estimate;

/// Events for which growth is told.
const EVENTS: f64 = 1_000_000.0;

/// Growth of the memory of one part, in MiB for each million events.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Growth {
    /// One slope for each pair of rounds.
    pub(super) slopes: Vec<f64>,
    #[serde(flatten)]
    pub(super) estimate: Estimate,
}

impl Growth {
    /// Growth of these levels, one for each round, after this many events each. `None` if there are too few rounds, or no events
    /// between them.
    pub(super) fn of(levels_mib: &[f64], events: &[u64]) -> Option<Self> {
        let half = pairs(levels_mib.len().min(events.len()));
        // With an odd number of rounds, the first one has no partner.
        let rounds: Vec<(f64, f64)> =
            levels_mib.iter().copied().zip(events.iter().map(|count| *count as f64)).collect();
        let rounds = rounds.get(rounds.len().checked_sub(2 * half)?..)?;
        let (early, late) = rounds.split_at(half);
        let slopes = early.iter().zip(late).map(|((early_mib, before), (late_mib, after))| {
            (after > before).then(|| (late_mib - early_mib) * EVENTS / (after - before))
        });
        let slopes: Vec<f64> = slopes.collect::<Option<_>>()?;
        (!slopes.is_empty()).then(|| Self { estimate: Estimate::of(&slopes), slopes })
    }
}

/// Number of pairs of this many rounds.
pub(super) const fn pairs(rounds: usize) -> usize {
    rounds / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events after each of some rounds of a thousand.
    fn events(rounds: u64) -> Vec<u64> {
        (1..=rounds).map(|round| round * 1_000).collect()
    }

    #[test]
    fn slope_is_that_of_a_steady_growth() {
        // A KiB for each event is 976.6 MiB for a million.
        let levels_mib: Vec<f64> =
            (1..=14_u32).map(|round| 20.0 + f64::from(round) * 1_000.0 / 1_024.0).collect();
        let Growth { slopes, estimate } = Growth::of(&levels_mib, &events(14)).unwrap();
        assert_eq!(slopes.len(), 7);
        for end in [estimate.low, estimate.median, estimate.high] {
            assert!((end - 976.562_5).abs() < 1e-6, "{estimate:?}");
        }
    }

    #[test]
    fn one_odd_round_does_not_move_the_slope() {
        let mut levels_mib = vec![20.0; 24];
        levels_mib[20] = 60.0;
        let estimate = Growth::of(&levels_mib, &events(24)).unwrap().estimate;
        assert_eq!((estimate.median, estimate.low, estimate.high), (0.0, 0.0, 0.0));
    }

    #[test]
    fn first_of_an_odd_number_of_rounds_is_left_out() {
        let growth = Growth::of(&[90.0, 20.0, 22.0], &events(3)).unwrap();
        assert_eq!(growth.slopes, [2_000.0]);
    }

    #[test]
    fn too_few_rounds_or_events_have_no_slope() {
        assert_eq!(Growth::of(&[], &[]), None);
        assert_eq!(Growth::of(&[20.0], &[1]), None);
        assert_eq!(Growth::of(&[20.0, 21.0], &[5, 5]), None);
    }
}
