//! Rules: what is measured, over which time, and what is bad. They are the same for Sentry, for Prometheus and for the recorder.

use serde::{Deserialize, Serialize};

use crate::{Labels, Named};

/// A rule. It holds for each of its projects separately.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Unique name in files, of lower-case letters and hyphens.
    pub slug: String,
    /// Name for people, without the prefix.
    pub name: String,
    /// What it means if it fires, and what to do.
    pub means: String,
    /// Services whose telemetry is measured.
    pub projects: Vec<String>,
    /// The alert condition of the faults that must make it fire (`faults::Definition::alerts`).
    #[serde(default)]
    pub condition: Option<String>,
    /// Severity of its issue.
    pub severity: Severity,
    /// Length of the measured time, in seconds.
    pub window_s: u32,
    /// What is measured.
    pub signal: Signal,
    /// What is bad.
    pub firing: Threshold,
    /// What it means if nothing was measured.
    #[serde(default)]
    pub no_data: NoData,
    /// Number of bad measurements that a share, a percentile or a mean needs, so that one slow moment of the machine is no alert: failed
    /// or slow transactions, values beyond the bound, or the sum above the line of a ratio. Sentry and Prometheus do not know it.
    #[serde(default)]
    pub bad_min: u32,
    /// Bound in one row of `verify`, which lasts seconds and cannot reach the bound of the rule. Nothing else uses it.
    #[serde(default)]
    pub row_bound: Option<f64>,
}

/// Shortest and longest time between two evaluations, in seconds.
const INTERVAL_S: (u32, u32) = (10, 60);

impl Rule {
    /// Returns the time between two evaluations of it, in seconds: a thirtieth of its window.
    #[must_use]
    pub fn interval_s(&self) -> u32 {
        (self.window_s / 30).clamp(INTERVAL_S.0, INTERVAL_S.1)
    }

    /// Returns the time in which it fires after its first bad measurement, in seconds, if that alone decides: the metrics of a service
    /// are sent within a quarter of a minute, and two evaluations in a row have to find it bad.
    #[must_use]
    pub fn fires_within_s(&self) -> u32 {
        15 + 2 * self.interval_s()
    }

    /// Returns true if telemetry of this service is measured.
    #[must_use]
    pub fn is_of(&self, project: &str) -> bool {
        self.projects.iter().any(|known| known == project)
    }
}

/// Severity of an issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Somebody should look at it today.
    Medium,
    /// Somebody has to act now.
    High,
}

impl Severity {
    /// Sentry's number for it.
    #[must_use]
    pub const fn priority(self) -> u32 {
        match self {
            Self::Medium => 50,
            Self::High => 75,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// A measurement outside of this bound is bad. The bound itself is good.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Threshold {
    /// Larger values are bad.
    Above(f64),
    /// Smaller values are bad.
    Below(f64),
}

impl Threshold {
    /// The bound.
    #[must_use]
    pub const fn bound(self) -> f64 {
        match self {
            Self::Above(bound) | Self::Below(bound) => bound,
        }
    }

    /// Returns true if the value is bad.
    #[must_use]
    pub fn is_exceeded(self, value: f64) -> bool {
        match self {
            Self::Above(bound) => value > bound,
            Self::Below(bound) => value < bound,
        }
    }
}

/// Meaning of a time without a measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoData {
    /// Nothing happened, and nothing is wrong.
    #[default]
    Ok,
    /// What should measure is dead, so the rule fires.
    Firing,
}

/// What is measured.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    /// A metric.
    Metric(MetricSignal),
    /// The sum of one counter divided by the sum of another one.
    Ratio(MetricRatio),
    /// Transactions of one op.
    Transactions(SpanSignal),
}

/// An aggregate of the values of a metric.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricSignal {
    /// The metric, without `pitboss.`.
    pub name: Named,
    /// How its values become one.
    pub aggregate: Aggregate,
    /// Only values with these labels, by their short names as in the code.
    #[serde(default)]
    pub labels: Labels,
    /// No values with any of these labels.
    #[serde(default)]
    pub without: Labels,
}

/// Two counters, or two parts of one.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricRatio {
    /// The counter above the line.
    pub of: Named,
    /// Only its values with these labels.
    #[serde(default)]
    pub labels: Labels,
    /// The counter below the line, with all its values.
    pub to: Named,
}

/// Transactions (local roots) of one op.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpanSignal {
    /// The op, such as `http.server`.
    pub op: String,
    /// What is measured of them.
    pub measure: SpanMeasure,
}

/// A measurement of transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpanMeasure {
    /// 95th percentile of their durations, in milliseconds.
    P95DurationMs,
    /// Share of those that failed, from 0 to 1.
    FailureRate,
}

/// A function that makes one value of many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aggregate {
    /// The sum, for counters and distributions.
    Sum,
    /// Number of values.
    Count,
    /// The mean.
    Avg,
    /// The smallest value.
    Min,
    /// The largest value.
    Max,
    /// The 95th percentile, for distributions.
    P95,
}

impl Aggregate {
    /// Name of the function in Sentry.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Count => "count",
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::P95 => "p95",
        }
    }
}
