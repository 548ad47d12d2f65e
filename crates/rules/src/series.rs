//! Values of one rule in one project, and their evaluation.
//!
//! They are gathered in buckets of ten seconds, so that a value is read once, whatever the window, and its memory does not grow with
//! the number of values. Whether a percentile is beyond its bound is counted exactly. Only the value that is shown for it is rounded.

use std::collections::{BTreeMap, VecDeque};

use crate::{Aggregate, NoData, Rule, Signal, SpanMeasure, Threshold};

/// Length of a bucket, in seconds.
pub const BUCKET_S: i64 = 10;
/// Largest number of traces that are remembered of one bucket, and of one evaluation.
const TRACES_MAX: usize = 5;
/// Ratio of two neighbouring sizes that a percentile is rounded to.
const SIZE_STEP: f64 = 1.02;
/// The largest size, of a million millions. Larger values have it, so that a bucket has a bound whatever a sender sends.
const SIZE_MAX: i32 = 1_400;

/// What a value counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// A value of the metric, a duration in milliseconds, a failed transaction (as 1), or a counter above the line of a ratio.
    Part,
    /// A transaction (as 1) of which a share failed, or a counter below the line of a ratio.
    Whole,
}

/// Result of an evaluation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// The measured value is bad.
    Firing(f64),
    /// The measured value is good, or too few of its measurements are bad.
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

/// An evaluation, with traces that show it.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The result.
    pub verdict: Verdict,
    /// Traces of bad measurements in the window, the newest first.
    pub traces: Vec<String>,
}

/// Values of one rule in one project.
#[derive(Clone, Debug, Default)]
pub struct Series {
    buckets: BTreeMap<i64, Bucket>,
}

#[derive(Clone, Debug, Default)]
struct Bucket {
    sum: f64,
    count: u64,
    min: Option<f64>,
    max: Option<f64>,
    /// Number of values that are bad by themselves.
    bad: u64,
    whole: f64,
    /// Number of values of about the same size, for a percentile.
    sizes: BTreeMap<i32, u64>,
    /// Traces of bad values, the newest last.
    traces: VecDeque<String>,
}

impl Series {
    /// Adds a value of a time in seconds since the epoch. One that is no finite number is left out.
    pub fn add(&mut self, rule: &Rule, at_s: f64, share: Share, value: f64, trace: Option<&str>) {
        if !value.is_finite() || !at_s.is_finite() {
            return;
        }
        let bucket = self.buckets.entry(bucket_of(at_s)).or_default();
        if share == Share::Whole {
            bucket.whole += value;
            return;
        }
        bucket.sum += value;
        bucket.count += 1;
        bucket.min = Some(bucket.min.map_or(value, |min| min.min(value)));
        bucket.max = Some(bucket.max.map_or(value, |max| max.max(value)));
        if aggregate_of(rule) == Some(Aggregate::P95) {
            *bucket.sizes.entry(size_of(value)).or_default() += 1;
        }
        if is_bad(rule, value) {
            bucket.bad += 1;
            if let Some(trace) = trace {
                if bucket.traces.len() >= TRACES_MAX {
                    bucket.traces.pop_front();
                }
                bucket.traces.push_back(trace.to_owned());
            }
        }
    }

    /// Forgets what no evaluation at `now_s` or later needs.
    pub fn forget(&mut self, rule: &Rule, now_s: f64) {
        self.buckets = self.buckets.split_off(&first_bucket(rule, now_s));
    }

    /// Evaluates the rule at `now_s` over its window, in whole buckets: up to ten seconds more than the window.
    #[must_use]
    pub fn measure(&self, rule: &Rule, now_s: f64) -> Measured {
        let (first, last) = (first_bucket(rule, now_s), bucket_of(now_s));
        let mut all = Bucket::default();
        // A window of no length would be an invalid range.
        for bucket in self.buckets.range(first..=last.max(first)).map(|(_, bucket)| bucket) {
            all.add(bucket);
        }
        let verdict = all.verdict(rule);
        let traces = match verdict {
            Verdict::Firing(_) => all.traces.into_iter().rev().take(TRACES_MAX).collect(),
            Verdict::Ok(_) | Verdict::NoData => Vec::new(),
        };
        Measured { verdict, traces }
    }
}

impl Bucket {
    fn add(&mut self, other: &Self) {
        self.sum += other.sum;
        self.count += other.count;
        self.min = [self.min, other.min].into_iter().flatten().reduce(f64::min);
        self.max = [self.max, other.max].into_iter().flatten().reduce(f64::max);
        self.bad += other.bad;
        self.whole += other.whole;
        for (size, count) in &other.sizes {
            *self.sizes.entry(*size).or_default() += count;
        }
        self.traces.extend(other.traces.iter().cloned());
        let too_many = self.traces.len().saturating_sub(TRACES_MAX);
        self.traces.drain(..too_many);
    }

    fn verdict(&self, rule: &Rule) -> Verdict {
        let bad_min = u64::from(rule.bad_min);
        let (value, is_bad) = match &rule.signal {
            Signal::Ratio(_) => {
                let Some(value) = self.share() else { return Verdict::NoData };
                (value, rule.firing.is_exceeded(value) && self.sum >= f64::from(rule.bad_min))
            }
            Signal::Transactions(signal) if signal.measure == SpanMeasure::FailureRate => {
                let Some(value) = self.share() else { return Verdict::NoData };
                (value, rule.firing.is_exceeded(value) && self.count >= bad_min)
            }
            Signal::Metric(_) | Signal::Transactions(_) => {
                let function = aggregate_of(rule).unwrap_or(Aggregate::P95);
                let Some(value) = self.aggregate(function) else { return Verdict::NoData };
                match (function, rule.firing) {
                    (Aggregate::P95, Threshold::Above(bound)) => {
                        // The nearest rank: more of the values are bad than may lie above the percentile.
                        let is_above = self.count - self.bad < rank(self.count);
                        let shown = if is_above { value.max(bound) } else { value.min(bound) };
                        (shown, is_above && self.bad >= bad_min)
                    }
                    _ => (value, rule.firing.is_exceeded(value) && self.bad >= bad_min),
                }
            }
        };
        if is_bad { Verdict::Firing(value) } else { Verdict::Ok(value) }
    }

    fn share(&self) -> Option<f64> {
        (self.whole > 0.0).then(|| self.sum / self.whole)
    }

    /// The aggregate of the values. Nothing for no values.
    fn aggregate(&self, function: Aggregate) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        let count = self.count as f64;
        match function {
            Aggregate::Sum => Some(self.sum),
            Aggregate::Count => Some(count),
            Aggregate::Avg => Some(self.sum / count),
            Aggregate::Min => self.min,
            Aggregate::Max => self.max,
            Aggregate::P95 => {
                let mut left = rank(self.count);
                let found = self.sizes.iter().find(|(_, count)| {
                    left = left.saturating_sub(**count);
                    left == 0
                });
                let rounded = SIZE_STEP.powf(f64::from(*found?.0) + 0.5);
                Some(rounded.clamp(self.min?, self.max?))
            }
        }
    }
}

/// The nearest rank of the 95th percentile, in whole numbers: the smallest value that 95 % of the values do not exceed.
fn rank(count: u64) -> u64 {
    (count * 95).div_ceil(100)
}

fn aggregate_of(rule: &Rule) -> Option<Aggregate> {
    match &rule.signal {
        Signal::Metric(signal) => Some(signal.aggregate),
        Signal::Transactions(signal) if signal.measure == SpanMeasure::P95DurationMs => Some(Aggregate::P95),
        Signal::Ratio(_) | Signal::Transactions(_) => None,
    }
}

/// Returns true if a value is bad by itself: beyond the bound, or above the line of a share.
fn is_bad(rule: &Rule, value: f64) -> bool {
    match &rule.signal {
        Signal::Ratio(_) => value > 0.0,
        Signal::Transactions(signal) if signal.measure == SpanMeasure::FailureRate => true,
        Signal::Metric(_) | Signal::Transactions(_) => rule.firing.is_exceeded(value),
    }
}

fn size_of(value: f64) -> i32 {
    // Everything up to 1 is one size. The logarithm of the largest number divided by that of a step fits.
    if value <= 1.0 { 0 } else { ((value.ln() / SIZE_STEP.ln()).floor() as i32).min(SIZE_MAX) }
}

fn bucket_of(at_s: f64) -> i64 {
    (at_s as i64).div_euclid(BUCKET_S)
}

fn first_bucket(rule: &Rule, now_s: f64) -> i64 {
    bucket_of(now_s - f64::from(rule.window_s))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule;

    const NOW_S: f64 = 1_800_000_000.0;

    fn declared(slug: &str) -> &'static Rule {
        rule(slug).expect("a declared rule")
    }

    fn series(slug: &str, values: &[f64], whole: &[f64]) -> Series {
        let (rule, mut series) = (declared(slug), Series::default());
        for (number, value) in values.iter().enumerate() {
            series.add(rule, NOW_S - 1.0, Share::Part, *value, Some(&format!("t{number}")));
        }
        for value in whole {
            series.add(rule, NOW_S - 1.0, Share::Whole, *value, None);
        }
        series
    }

    fn verdict(slug: &str, values: &[f64], whole: &[f64]) -> Verdict {
        series(slug, values, whole).measure(declared(slug), NOW_S).verdict
    }

    #[test]
    fn share_of_failures_fires_above_its_bound() {
        assert_eq!(verdict("payment-failures", &[6.0], &[60.0, 40.0]), Verdict::Firing(0.06));
        assert_eq!(verdict("payment-failures", &[5.0], &[100.0]), Verdict::Ok(0.05), "the bound is good");
        assert_eq!(verdict("payment-failures", &[1.0], &[2.0]), Verdict::Ok(0.5), "one failure alone");
        assert_eq!(verdict("payment-failures", &[], &[100.0]), Verdict::Ok(0.0), "nothing failed");
        assert_eq!(verdict("payment-failures", &[], &[]), Verdict::NoData, "no payments");
        assert!(!Verdict::NoData.is_firing(declared("payment-failures")));
        assert_eq!(verdict("request-errors", &[1.0; 3], &[1.0; 100]), Verdict::Firing(0.03));
        assert_eq!(verdict("request-errors", &[1.0; 2], &[1.0; 100]), Verdict::Ok(0.02), "too few to say");
    }

    #[test]
    fn percentile_is_the_nearest_rank() {
        let mut durations = vec![10.0; 95];
        durations.extend([900.0; 5]);
        let Verdict::Ok(shown) = verdict("request-latency", &durations, &[]) else { panic!("it fires") };
        assert!((9.8..=10.2).contains(&shown), "{shown}");
        durations.push(900.0);
        let Verdict::Firing(shown) = verdict("request-latency", &durations, &[]) else {
            panic!("it is silent")
        };
        assert!((880.0..=900.0).contains(&shown), "{shown}");
        assert_eq!(verdict("request-latency", &[500.0; 9], &[]), Verdict::Ok(500.0), "the bound is good");
        assert_eq!(verdict("request-latency", &[500.5; 9], &[]), Verdict::Firing(500.5));
        assert!(matches!(verdict("request-latency", &[501.0; 2], &[]), Verdict::Ok(_)), "too few to say");
    }

    #[test]
    fn any_values_have_few_sizes() {
        for value in [f64::MIN, -1.0, 0.0, f64::MIN_POSITIVE, 1.0, 500.0, 1e12, 1e13, f64::MAX] {
            assert!((0..=SIZE_MAX).contains(&size_of(value)), "{value}");
        }
        assert!(size_of(1e12) < size_of(1e13));
        assert_eq!(verdict("request-latency", &[1e300; 9], &[]), Verdict::Firing(1e300));
    }

    #[test]
    fn only_the_window_counts() {
        let rule = declared("lag-seconds");
        let at = |at_s: f64| {
            let mut series = Series::default();
            series.add(rule, at_s, Share::Part, 31.0, None);
            series.measure(rule, NOW_S).verdict
        };
        let window_s = f64::from(rule.window_s);
        assert_eq!(at(NOW_S), Verdict::Firing(31.0));
        assert_eq!(at(NOW_S - window_s), Verdict::Firing(31.0));
        for outside in [NOW_S - window_s - 10.0, NOW_S + 10.0, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(at(outside), Verdict::NoData, "{outside}");
        }
    }

    #[test]
    fn late_value_counts_until_its_window_is_over() {
        let (rule, mut series) = (declared("dead-letters"), Series::default());
        assert_eq!(series.measure(rule, NOW_S).verdict, Verdict::NoData);
        series.add(rule, NOW_S - 200.0, Share::Part, 1.0, Some("late"));
        assert_eq!(
            series.measure(rule, NOW_S),
            Measured { verdict: Verdict::Firing(1.0), traces: vec!["late".to_owned()] }
        );
        series.forget(rule, NOW_S + 50.0);
        assert_eq!(series.measure(rule, NOW_S + 50.0).verdict, Verdict::Firing(1.0), "still in the window");
        series.forget(rule, NOW_S + 200.0);
        assert_eq!(series.measure(rule, NOW_S + 200.0).verdict, Verdict::NoData);
    }

    #[test]
    fn missing_lag_fires() {
        for slug in ["lag-messages", "lag-seconds", "lag-reading", "latency-not-measured"] {
            assert_eq!(verdict(slug, &[], &[]), Verdict::NoData);
            assert!(Verdict::NoData.is_firing(declared(slug)), "{slug}");
        }
        assert_eq!(verdict("lag-seconds", &[0.0, 12.0, f64::NAN], &[]), Verdict::Ok(12.0));
        assert!(!Verdict::Ok(12.0).is_firing(declared("lag-seconds")));
        assert_eq!(verdict("lag-seconds", &[0.0, 31.0], &[]), Verdict::Firing(31.0));
        assert_eq!(verdict("lag-messages", &[1_000.0], &[]), Verdict::Ok(1_000.0));
    }

    #[test]
    fn dead_letters_fire_with_the_first() {
        assert_eq!(verdict("dead-letters", &[1.0], &[]), Verdict::Firing(1.0));
        assert_eq!(verdict("dead-letters", &[0.0], &[]), Verdict::Ok(0.0));
        assert!(!verdict("dead-letters", &[], &[]).is_firing(declared("dead-letters")));
    }

    #[test]
    fn return_to_players_has_a_band() {
        for (value, below, above) in [(0.70, true, false), (0.9595, false, false), (1.2, false, true)] {
            let fires = |slug| verdict(slug, &[value; 500], &[]).is_firing(declared(slug));
            assert_eq!((fires("rtp-below-band"), fires("rtp-above-band")), (below, above), "{value}");
        }
        let soon = verdict("rtp-below-band", &[0.3; 499], &[]);
        assert!(
            !soon.is_firing(declared("rtp-below-band")),
            "an hour that has just begun says nothing: {soon:?}"
        );
        assert_eq!(verdict("payouts-below-owed", &[70.0], &[100.0]), Verdict::Firing(0.7));
        assert_eq!(verdict("payouts-below-owed", &[], &[100.0]), Verdict::Firing(0.0), "nothing is paid");
        assert_eq!(verdict("payouts-above-owed", &[200.0], &[100.0]), Verdict::Firing(2.0));
        assert_eq!(verdict("payouts-below-owed", &[100.0], &[100.0]), Verdict::Ok(1.0));
    }

    #[test]
    fn newest_traces_of_bad_values_are_kept() {
        let values: Vec<f64> = (0..20).map(|number| if number < 12 { 600.0 } else { 1.0 }).collect();
        let found = series("request-latency", &values, &[]).measure(declared("request-latency"), NOW_S);
        assert_eq!(found.traces, ["t11", "t10", "t9", "t8", "t7"]);
    }

    #[test]
    fn every_aggregate_is_computed() {
        let mut bucket = Bucket::default();
        for value in [9.0, 1.0, 2.0] {
            let mut other =
                Bucket { sum: value, count: 1, min: Some(value), max: Some(value), ..Bucket::default() };
            other.sizes.insert(size_of(value), 1);
            bucket.add(&other);
        }
        for (function, expected) in [
            (Aggregate::Sum, 12.0),
            (Aggregate::Count, 3.0),
            (Aggregate::Avg, 4.0),
            (Aggregate::Min, 1.0),
            (Aggregate::Max, 9.0),
            (Aggregate::P95, 9.0),
        ] {
            let found = bucket.aggregate(function).expect("a value");
            assert!((found - expected).abs() <= expected * 0.02, "{function:?} {found}");
            assert_eq!(Bucket::default().aggregate(function), None);
        }
    }
}
