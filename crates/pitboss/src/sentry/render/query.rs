//! Aggregates and conditions in Sentry's query language.

use telemetry::metric::{Kind, Metric};

use crate::sentry::model::{
    Aggregate, Labels, MetricRatio, MetricSignal, Signal, SpanMeasure, SpanSignal, sent_label,
};

/// Prefix of an aggregate that combines functions.
const EQUATION: &str = "equation|";
/// Number of transactions.
const TRANSACTIONS: &str = "count(span.duration)";

/// A query of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query {
    /// The value.
    pub(super) aggregate: String,
    /// What is taken into account.
    pub(super) conditions: String,
}

impl Query {
    /// What is missing to the bound: above 0 if the value is below it.
    pub(super) fn shortfall(self, bound: f64) -> Self {
        let term = self.aggregate.strip_prefix(EQUATION).map(|terms| format!("({terms})"));
        let aggregate = format!("{EQUATION}{bound} - {}", term.unwrap_or(self.aggregate));
        Self { aggregate, conditions: self.conditions }
    }
}

/// The query of what a rule measures.
pub(super) fn of_signal(signal: &Signal) -> Query {
    match signal {
        Signal::Metric(signal) => {
            Query { aggregate: metric(signal.aggregate, signal.name.0), conditions: filters(signal) }
        }
        Signal::Ratio(ratio) => Query { aggregate: quotient(ratio), conditions: String::new() },
        Signal::Transactions(signal) => {
            let aggregate = match signal.measure {
                SpanMeasure::P95DurationMs => "p95(span.duration)",
                SpanMeasure::FailureRate => "failure_rate()",
            };
            Query { aggregate: aggregate.to_owned(), conditions: transactions(signal) }
        }
    }
}

/// The query of how often it was measured, which is 0 without data.
pub(super) fn of_count(signal: &Signal) -> Query {
    match signal {
        Signal::Metric(signal) => {
            Query { aggregate: metric(Aggregate::Count, signal.name.0), conditions: filters(signal) }
        }
        Signal::Ratio(ratio) => {
            Query { aggregate: metric(Aggregate::Count, ratio.to.0), conditions: String::new() }
        }
        Signal::Transactions(signal) => {
            Query { aggregate: TRANSACTIONS.to_owned(), conditions: transactions(signal) }
        }
    }
}

/// An aggregate of a metric: function, the word `value`, name, kind and unit.
pub(super) fn metric(function: Aggregate, metric: Metric) -> String {
    format!("{}(value,{})", function.as_str(), identity(metric))
}

fn identity(metric: Metric) -> String {
    let kind = match metric.kind() {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Distribution => "distribution",
    };
    format!("{},{kind},{}", metric.sentry_name(), metric.sentry_unit())
}

fn quotient(ratio: &MetricRatio) -> String {
    let of = if ratio.labels.is_empty() {
        metric(Aggregate::Sum, ratio.of.0)
    } else {
        // The condition of a part stands in backticks before the other arguments.
        format!("sum_if(`{}`,value,{})", conditions(&ratio.labels, ""), identity(ratio.of.0))
    };
    format!("{EQUATION}{of} / {}", metric(Aggregate::Sum, ratio.to.0))
}

fn filters(signal: &MetricSignal) -> String {
    let parts = [conditions(&signal.labels, ""), conditions(&signal.without, "!")];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Conditions on labels, all of which have to hold.
pub(super) fn conditions(labels: &Labels, not: &str) -> String {
    let condition = |(label, pattern): (&String, &String)| format!("{not}{}:{pattern}", sent_label(label));
    labels.iter().map(condition).collect::<Vec<_>>().join(" ")
}

fn transactions(signal: &SpanSignal) -> String {
    format!("is_transaction:true span.op:{}", signal.op)
}
