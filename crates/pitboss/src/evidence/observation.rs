//! Data that the recorder received since a moment.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{ErrorEvent, Profile, Sighting};
use crate::trace::Span;

/// Everything that evidence is judged by.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    /// Transactions with their spans. Streamed segments are among them.
    pub transactions: Vec<Transaction>,
    /// Error events.
    pub events: Vec<ErrorEvent>,
    /// Issues with an event since the moment.
    pub issues: Vec<Issue>,
    /// Values of metrics.
    pub metrics: Vec<MetricValue>,
    /// CPU profiles.
    pub profiles: Vec<Profile>,
    /// Losses of telemetry, as the services reported them.
    pub client_reports: Vec<ClientReport>,
    /// Monitors of check-ins, if the evidence reads them.
    pub monitors: Vec<Monitor>,
    /// The load, as its sender measured it. `None` where nothing compares it with a control.
    pub load: Option<Load>,
}

/// Entry of a client report for one reason and category.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientReport {
    /// Service that sent it.
    pub service: String,
    /// Reason of the losses, as Sentry names it.
    pub reason: String,
    /// Number of lost items.
    pub quantity: u64,
}

/// A monitor of check-ins, as the recorder computes it.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Monitor {
    /// Name of the monitor.
    pub monitor: String,
    /// `missed`, `timeout`, or the status of the last check-in.
    pub state: String,
}

/// A load beside its control.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Units that ended.
    pub units: u64,
    /// Units that were not answered with success.
    pub failed: u64,
    /// Units that took much longer than nearly all of the control. 0 without a control.
    pub slow: u64,
    /// Median of their durations.
    pub p50_ms: f64,
    /// The same of the control. `None` in the control itself.
    pub control_p50_ms: Option<f64>,
}

/// One transaction of a service.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// Service that sent it.
    pub service: String,
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// Its spans. The first one is the segment, the span of the transaction itself, unless that was streamed and did not arrive.
    pub spans: Vec<Span>,
}

/// An issue, as the recorder groups it.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Issue {
    /// Service that sent it.
    pub project: String,
    /// Title, as Sentry shows it.
    #[serde(default)]
    pub title: String,
    /// Number of events since the moment.
    #[serde(default)]
    pub count_since: u64,
    /// Fingerprint of the last event. Empty if its service leaves the grouping to Sentry.
    #[serde(default)]
    pub fingerprint: Vec<String>,
    /// Trace of the last event.
    #[serde(default)]
    pub last_trace_id: Option<String>,
}

/// One value of a metric.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct MetricValue {
    /// Position of its envelope.
    pub seq: u64,
    /// Name of the metric.
    #[serde(default)]
    pub name: Option<String>,
    /// The value.
    #[serde(default)]
    pub value: Value,
    /// Its labels.
    #[serde(default)]
    pub attributes: Map<String, Value>,
}

/// Returns true if a service or group is the wanted one. An empty name wants any.
pub(super) fn is_of(actual: &str, wanted: &str) -> bool {
    wanted.is_empty() || actual == wanted
}

impl MetricValue {
    /// A label's text. Empty for a value without it.
    pub(super) fn label(&self, name: &str) -> &str {
        self.attributes.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn is(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        let has = |(label, value): &(&str, &str)| {
            self.attributes.get(*label).and_then(Value::as_str) == Some(*value)
        };
        self.name.as_deref() == Some(name) && labels.iter().all(has)
    }
}

impl Observation {
    /// Returns the sum of a metric's values with these labels.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let matching = self.metrics.iter().filter(|metric| metric.is(name, labels));
        matching.filter_map(|metric| metric.value.as_f64()).sum()
    }

    /// Returns the largest of a metric's values with these labels.
    #[must_use]
    pub fn peak(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let matching = self.metrics.iter().filter(|metric| metric.is(name, labels));
        matching.filter_map(|metric| metric.value.as_f64()).max_by(f64::total_cmp)
    }

    /// Returns the segment of each transaction.
    pub(super) fn segments(&self) -> impl Iterator<Item = (&Transaction, &Span)> {
        let first = self
            .transactions
            .iter()
            .filter_map(|transaction| Some((transaction, transaction.spans.first()?)));
        first.filter(|(_, segment)| segment.is_transaction)
    }

    /// Returns the partition from which a service handled most records.
    #[must_use]
    pub fn busiest_partition(&self, service: &str) -> Option<i64> {
        let of_service = self.segments().filter(|(transaction, _)| transaction.service == service);
        let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
        for (_, segment) in of_service.filter(|(_, segment)| segment.op == "queue.process") {
            let partition = segment.text("messaging.destination.partition.id");
            if let Some(partition) = partition.and_then(|text| text.parse().ok()) {
                *counts.entry(partition).or_default() += 1;
            }
        }
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(partition, _)| partition)
    }

    /// Returns the first of at least `count_min` matching spans of a service.
    pub(super) fn spans(
        &self,
        service: &str,
        count_min: usize,
        matches: impl Fn(&Span) -> bool,
        what: &str,
    ) -> Option<Sighting> {
        let of_service = self.transactions.iter().filter(|transaction| is_of(&transaction.service, service));
        let found = of_service.flat_map(|t| t.spans.iter().map(move |span| (t, span)));
        let mut matching = found.filter(|(_, span)| matches(span));
        let (first, _) = matching.next()?;
        let count = matching.count().saturating_add(1);
        let place = format!("{count} × {what}");
        (count >= count_min).then(|| Sighting { place, trace_id: Some(first.trace_id.clone()) })
    }
}

impl Transaction {
    /// Reads the payload of a transaction item. Returns `None` for one without a trace.
    #[must_use]
    pub fn read(service: &str, payload: &Value) -> Option<Self> {
        let context = payload.get("contexts")?.get("trace")?;
        let mut segment = span(service, context)?;
        segment.is_transaction = true;
        segment.description = text(payload, "transaction");
        (segment.start, segment.end) = times(payload);
        let children = payload.get("spans").and_then(Value::as_array).into_iter().flatten();
        let children = children.filter_map(|child| {
            let mut read = span(service, child)?;
            (read.start, read.end) = times(child);
            Some(read)
        });
        let trace_id = text(context, "trace_id")?;
        let spans = std::iter::once(segment).chain(children).collect();
        Some(Self { service: service.to_owned(), trace_id, spans })
    }
}

fn span(service: &str, value: &Value) -> Option<Span> {
    Some(Span {
        span_id: text(value, "span_id")?,
        parent_span_id: text(value, "parent_span_id"),
        project: service.to_owned(),
        op: text(value, "op").unwrap_or_default(),
        description: text(value, "description"),
        status: text(value, "status"),
        start: 0.0,
        end: 0.0,
        data: value.get("data").and_then(Value::as_object).cloned().unwrap_or_default(),
        is_transaction: false,
    })
}

pub(super) fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn times(value: &Value) -> (f64, f64) {
    let time = |key: &str| value.get(key).and_then(Value::as_f64).unwrap_or_default();
    (time("start_timestamp"), time("timestamp"))
}
