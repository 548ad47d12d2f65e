//! Evaluation of a rule over recorded values: pure, without a clock.

use super::model::{Aggregate, NoData, Rule, Signal, SpanMeasure};

/// A value at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Milliseconds since the epoch.
    pub at_ms: i64,
    /// The value: that of the metric, or the duration of a transaction in milliseconds.
    pub value: f64,
}

/// What was recorded for a rule in one of its projects, in any order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recorded {
    /// Values of the signal. For a ratio those above the line, for a failure rate the transactions that failed.
    pub points: Vec<Point>,
    /// For a ratio the values below the line, for a failure rate all transactions. Otherwise unused.
    pub whole: Vec<Point>,
}

/// Result of an evaluation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// The measured value is bad.
    Firing(f64),
    /// The measured value is good.
    Ok(f64),
    /// Nothing was measured in the window, or a ratio has nothing below the line.
    NoData,
}

impl Verdict {
    /// Returns true if the rule fires: without data it depends on the rule.
    #[must_use]
    pub fn is_firing(self, rule: &Rule) -> bool {
        match self {
            Self::Firing(_) => true,
            Self::Ok(_) => false,
            Self::NoData => rule.no_data == NoData::Firing,
        }
    }
}

/// Evaluates the rule at `now_ms` over the values of its window: later than `now_ms` − window, up to `now_ms`.
///
/// Values that are no numbers are left out.
#[must_use]
pub fn evaluate(rule: &Rule, recorded: &Recorded, now_ms: i64) -> Verdict {
    let begin_ms = now_ms.saturating_sub(i64::from(rule.window_s) * 1_000);
    let in_window = |points: &[Point]| -> Vec<f64> {
        let is_inside = |point: &&Point| point.at_ms > begin_ms && point.at_ms <= now_ms;
        points.iter().filter(is_inside).map(|point| point.value).filter(|value| value.is_finite()).collect()
    };
    let (points, whole) = (in_window(&recorded.points), in_window(&recorded.whole));
    let measured = match &rule.signal {
        Signal::Metric(signal) => aggregate(signal.aggregate, points),
        Signal::Ratio(_) => quotient(points.iter().sum(), whole.iter().sum()),
        Signal::Transactions(signal) => match signal.measure {
            SpanMeasure::P95DurationMs => aggregate(Aggregate::P95, points),
            SpanMeasure::FailureRate => quotient(count(&points), count(&whole)),
        },
    };
    match measured {
        Some(value) if rule.firing.is_exceeded(value) => Verdict::Firing(value),
        Some(value) => Verdict::Ok(value),
        None => Verdict::NoData,
    }
}

fn quotient(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

#[expect(clippy::cast_precision_loss, reason = "a number of recorded values is far below 2^53")]
fn count(values: &[f64]) -> f64 {
    values.len() as f64
}

/// The aggregate of the values. Nothing for no values.
fn aggregate(function: Aggregate, mut values: Vec<f64>) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    Some(match function {
        Aggregate::Sum => values.iter().sum(),
        Aggregate::Count => count(&values),
        Aggregate::Avg => values.iter().sum::<f64>() / count(&values),
        Aggregate::Min => values.iter().copied().fold(f64::INFINITY, f64::min),
        Aggregate::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Aggregate::P95 => {
            values.sort_unstable_by(f64::total_cmp);
            // The nearest rank, in whole numbers: the smallest value that 95 % of the values do not exceed.
            let rank = (values.len() * 95).div_ceil(100);
            values[rank.saturating_sub(1)]
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::files::tests::declared;
    use super::*;

    const NOW_MS: i64 = 1_800_000_000_000;

    fn rule(slug: &str) -> Rule {
        declared().rules.into_iter().find(|rule| rule.slug == slug).unwrap()
    }

    /// Values of the last second.
    fn points(values: &[f64]) -> Vec<Point> {
        values.iter().map(|value| Point { at_ms: NOW_MS - 1_000, value: *value }).collect()
    }

    fn verdict(slug: &str, values: &[f64], whole: &[f64]) -> Verdict {
        let recorded = Recorded { points: points(values), whole: points(whole) };
        evaluate(&rule(slug), &recorded, NOW_MS)
    }

    #[test]
    fn share_of_failures_fires_above_its_bound() {
        assert_eq!(verdict("payment-failures", &[6.0], &[60.0, 40.0]), Verdict::Firing(0.06));
        assert_eq!(verdict("payment-failures", &[5.0], &[100.0]), Verdict::Ok(0.05), "the bound is good");
        assert_eq!(verdict("payment-failures", &[], &[100.0]), Verdict::Ok(0.0), "nothing failed");
        assert_eq!(verdict("payment-failures", &[], &[]), Verdict::NoData, "no payments");
        assert!(!Verdict::NoData.is_firing(&rule("payment-failures")));
        assert_eq!(verdict("request-errors", &[3.0, 9.0], &[1.0; 100]), Verdict::Firing(0.02), "counted");
    }

    #[test]
    fn percentile_is_the_nearest_rank() {
        let mut durations = vec![10.0; 95];
        durations.extend([900.0; 5]);
        assert_eq!(verdict("request-latency", &durations, &[]), Verdict::Ok(10.0));
        durations.push(900.0);
        assert_eq!(verdict("request-latency", &durations, &[]), Verdict::Firing(900.0));
        assert_eq!(verdict("request-latency", &[501.0], &[]), Verdict::Firing(501.0));
    }

    #[test]
    fn only_the_window_counts() {
        let rule = rule("lag-seconds");
        let window_ms = i64::from(rule.window_s) * 1_000;
        let at = |at_ms| Recorded { points: vec![Point { at_ms, value: 31.0 }], whole: Vec::new() };
        assert_eq!(evaluate(&rule, &at(NOW_MS), NOW_MS), Verdict::Firing(31.0));
        assert_eq!(evaluate(&rule, &at(NOW_MS - window_ms + 1), NOW_MS), Verdict::Firing(31.0));
        for outside in [NOW_MS - window_ms, NOW_MS + 1] {
            assert_eq!(evaluate(&rule, &at(outside), NOW_MS), Verdict::NoData);
        }
        assert_eq!(evaluate(&rule, &at(i64::MIN), i64::MIN), Verdict::NoData, "no overflow");
    }

    #[test]
    fn missing_lag_fires() {
        for slug in ["lag-messages", "lag-seconds", "lag-reading", "latency-not-measured"] {
            assert_eq!(verdict(slug, &[], &[]), Verdict::NoData);
            assert!(Verdict::NoData.is_firing(&rule(slug)), "{slug}");
        }
        assert_eq!(verdict("lag-seconds", &[0.0, 12.0, f64::NAN], &[]), Verdict::Ok(12.0));
        assert!(!Verdict::Ok(12.0).is_firing(&rule("lag-seconds")));
    }

    #[test]
    fn dead_letters_fire_with_the_first() {
        assert_eq!(verdict("dead-letters", &[1.0], &[]), Verdict::Firing(1.0));
        assert_eq!(verdict("dead-letters", &[0.0], &[]), Verdict::Ok(0.0));
        assert!(!verdict("dead-letters", &[], &[]).is_firing(&rule("dead-letters")));
    }

    #[test]
    fn return_to_players_has_a_band() {
        for (value, below, above) in [(0.70, true, false), (0.9595, false, false), (1.2, false, true)] {
            let fires = |slug| verdict(slug, &[value], &[]).is_firing(&rule(slug));
            assert_eq!((fires("rtp-below-band"), fires("rtp-above-band")), (below, above), "{value}");
        }
        assert_eq!(verdict("payouts-below-owed", &[70.0], &[100.0]), Verdict::Firing(0.7));
        assert_eq!(verdict("payouts-above-owed", &[200.0], &[100.0]), Verdict::Firing(2.0));
        assert_eq!(verdict("payouts-below-owed", &[100.0], &[100.0]), Verdict::Ok(1.0));
    }

    #[test]
    fn every_aggregate_is_computed() {
        for (function, expected) in [
            (Aggregate::Sum, 12.0),
            (Aggregate::Count, 3.0),
            (Aggregate::Avg, 4.0),
            (Aggregate::Min, 1.0),
            (Aggregate::Max, 9.0),
            (Aggregate::P95, 9.0),
        ] {
            assert_eq!(aggregate(function, vec![9.0, 1.0, 2.0]), Some(expected), "{function:?}");
            assert_eq!(aggregate(function, Vec::new()), None);
        }
    }
}
