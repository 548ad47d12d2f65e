//! Dashboards: widgets on a grid of six columns.

use serde::Deserialize;

use super::{Aggregate, Labels, Named};

/// A dashboard, one file each.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dashboard {
    /// Title, without the prefix.
    pub title: String,
    /// Its widgets.
    #[serde(rename = "widget")]
    pub widgets: Vec<Widget>,
}

/// A widget.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Widget {
    /// Title.
    pub title: String,
    /// What a reader should see in it.
    pub means: String,
    /// Its form.
    pub display: Display,
    /// Column (0 to 5) and row of its upper left corner.
    pub at: [u32; 2],
    /// Columns and rows that it covers.
    pub size: [u32; 2],
    /// What it shows.
    pub source: Source,
}

/// Form of a widget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Display {
    /// Lines over time.
    Line,
    /// Stacked areas over time.
    Area,
    /// Bars over time.
    Bar,
    /// A table.
    Table,
    /// One number.
    BigNumber,
}

impl Display {
    /// Sentry's name for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Area => "area",
            Self::Bar => "bar",
            Self::Table => "table",
            Self::BigNumber => "big_number",
        }
    }

    /// Returns true for forms over time, which show only some of many groups.
    #[must_use]
    pub const fn is_over_time(self) -> bool {
        matches!(self, Self::Line | Self::Area | Self::Bar)
    }
}

/// What a widget shows.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Spans.
    Spans(SpanSource),
    /// Metrics.
    Metrics(MetricSource),
}

/// Spans of some ops.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpanSource {
    /// The ops.
    pub ops: Vec<String>,
    /// Only transactions (local roots).
    #[serde(default)]
    pub transactions: bool,
    /// What is shown of them.
    pub show: Vec<SpanColumn>,
    /// Attributes by which they are grouped.
    #[serde(default)]
    pub by: Vec<String>,
}

/// A figure about spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpanColumn {
    /// Their number.
    Count,
    /// Their number a minute.
    RatePerMinute,
    /// Median of their durations.
    P50Duration,
    /// 95th percentile of their durations.
    P95Duration,
    /// Mean of their durations.
    AvgDuration,
    /// Sum of their durations.
    SumDuration,
    /// Share of those that failed.
    FailureRate,
    /// Share of those whose transaction failed, as Sentry's own dashboard of queues shows it.
    TransactionErrorRate,
    /// Mean time from publish to receipt.
    AvgReceiveLatency,
    /// Number of those that publish.
    Published,
    /// Number of those that process.
    Processed,
}

/// Metrics with common labels.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricSource {
    /// The metrics.
    pub show: Vec<MetricColumn>,
    /// Labels by which they are grouped, by their short names.
    #[serde(default)]
    pub by: Vec<String>,
    /// Only values with these labels.
    #[serde(default)]
    pub labels: Labels,
}

/// A metric in a widget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricColumn {
    /// The metric, without `pitboss.`.
    pub name: Named,
    /// How its values become one.
    pub aggregate: Aggregate,
}
