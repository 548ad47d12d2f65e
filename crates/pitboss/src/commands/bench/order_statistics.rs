//! Interval of a median by the sign test: two of the sorted values, with no assumption about their distribution.
//!
//! Each value lies below the median with probability ½. So the number of values below it is binomial, and the interval from the
//! k-th smallest to the k-th largest value misses the median only if fewer than k values lie on one of its sides.

use serde::Serialize;

use crate::commands::bench::median;
use crate::output::counted;

/// Smallest probability with which an interval should contain the median.
const CONFIDENCE: f64 = 0.95;

/// Places of the two ends of an interval among the sorted values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ends {
    /// Number of values that lie outside on each side.
    pub(super) left_out: usize,
    /// Probability with which the interval contains the median. It is below [`CONFIDENCE`] if there are too few values.
    pub(super) coverage: f64,
}

/// Median of some values, and its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Estimate {
    pub(super) median: f64,
    /// Lower end of the interval.
    pub(super) low: f64,
    /// Upper end of the interval.
    pub(super) high: f64,
}

impl Ends {
    /// The narrowest interval with [`CONFIDENCE`] for this number of values, or the widest that there is.
    pub(super) fn of(values: usize) -> Self {
        let all =
            (0..values.div_ceil(2)).map(|left_out| Self { left_out, coverage: coverage(values, left_out) });
        let widest = Self { left_out: 0, coverage: coverage(values, 0) };
        all.take_while(|ends| ends.suffice()).last().unwrap_or(widest)
    }

    /// Explains the interval of this number of values, which are called ratios.
    pub(super) fn explanation(ratios: usize) -> String {
        let ends = Self::of(ratios);
        let which = match ends.left_out {
            0 => format!("from the smallest to the largest of {}", counted(ratios, "ratio")),
            left_out => format!("{ratios} ratios without the {left_out} smallest and the {left_out} largest"),
        };
        let enough = if ends.suffice() {
            String::new()
        } else {
            let rounds = counted(ratios, "round");
            format!(", so at least {:.0} % are not possible with {rounds}", CONFIDENCE * 100.0)
        };
        let coverage = ends.coverage * 100.0;
        format!("Interval: {which}, which contains the median with {coverage:.1} % (sign test){enough}.")
    }

    /// Returns true if the interval has the wanted confidence.
    pub(super) fn suffice(self) -> bool {
        self.coverage >= CONFIDENCE
    }
}

impl Estimate {
    /// Estimates the median of `values`. All of it is NaN if there are none.
    pub(super) fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let left_out = Ends::of(sorted.len()).left_out;
        let end = |value: Option<&f64>| value.copied().unwrap_or(f64::NAN);
        Self {
            median: median(values),
            low: end(sorted.get(left_out)),
            high: end(sorted.iter().nth_back(left_out)),
        }
    }
}

/// Probability that the interval without the `left_out` smallest and largest values contains the median. For up to a thousand
/// values.
fn coverage(values: usize, left_out: usize) -> f64 {
    // Probability that exactly `below` of the values lie below the median.
    let mut exactly = 0.5_f64.powi(i32::try_from(values).unwrap_or(i32::MAX));
    let mut at_most = 0.0;
    for below in 0..=left_out {
        at_most += exactly;
        exactly *= values.saturating_sub(below) as f64 / (below + 1) as f64;
    }
    (1.0 - 2.0 * at_most).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_of_seven_is_from_smallest_to_largest() {
        let ends = Ends::of(7);
        assert_eq!(ends, Ends { left_out: 0, coverage: 0.984_375 });
        assert!(ends.suffice());
        let estimate = Estimate::of(&[1.4, 1.0, 1.3, 1.1, 1.6, 1.2, 1.5]);
        assert_eq!(estimate, Estimate { median: 1.3, low: 1.0, high: 1.6 });
    }

    #[test]
    fn five_values_are_too_few() {
        assert_eq!(Ends::of(5), Ends { left_out: 0, coverage: 0.9375 });
        assert!(!Ends::of(5).suffice() && Ends::of(6).suffice());
        assert_eq!(Ends::of(1), Ends { left_out: 0, coverage: 0.0 });
        assert_eq!(Estimate::of(&[1.1]), Estimate { median: 1.1, low: 1.1, high: 1.1 });
    }

    /// The numbers of tables of the sign test.
    #[test]
    fn many_values_have_a_narrower_interval() {
        for (values, left_out, coverage) in
            [(8, 0, 0.992_2), (9, 1, 0.960_9), (12, 2, 0.961_4), (20, 5, 0.958_6)]
        {
            let ends = Ends::of(values);
            assert_eq!(ends.left_out, left_out, "{values}");
            assert!((ends.coverage - coverage).abs() < 0.000_1, "{values}: {ends:?}");
        }
        let nine: Vec<f64> = (1..=9).map(f64::from).collect();
        assert_eq!(Estimate::of(&nine), Estimate { median: 5.0, low: 2.0, high: 8.0 });
    }

    #[test]
    fn no_values_have_no_median() {
        assert_eq!(Ends::of(0), Ends { left_out: 0, coverage: 0.0 });
        assert!(Estimate::of(&[]).median.is_nan() && Estimate::of(&[]).high.is_nan());
    }
}
