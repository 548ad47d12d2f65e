//! Queues dashboard: publishes and processed records by destination and by transaction.

use serde::Serialize;

use super::{
    Extent,
    flow::{DESTINATION, Flow, Flows},
    mean,
    rows::Rows,
};
use crate::{
    protocol::{
        digest::Kinds,
        spans::{self, SpanAttributes, StoredSpan},
    },
    query::{
        lines::WriteError,
        scan::{Scanned, Window, scan},
        state::Query,
    },
};

const PUBLISH: &str = "queue.publish";
const PROCESS: &str = "queue.process";
const SYSTEM: &str = "messaging.system";
const LATENCY: &str = "messaging.message.receive.latency";
/// Item types that are read: spans, and metrics for the skipped records.
const READ_TYPES: [&str; 3] = ["transaction", "span", "trace_metric"];

/// Figures of a set of queue spans.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct QueueFigures {
    /// Mean receive latency of the spans that have one.
    pub(crate) avg_time_in_queue_ms: Option<f64>,
    /// Mean duration of the `queue.process` spans.
    pub(crate) avg_processing_ms: Option<f64>,
    /// Share of the spans whose segment is not `ok`.
    pub(crate) error_rate: Option<f64>,
    pub(crate) published: u64,
    pub(crate) processed: u64,
    pub(crate) time_spent_ms: f64,
    /// Spans a minute.
    pub(crate) per_minute: f64,
}

/// A row of the first dashboard.
#[derive(Debug, Serialize)]
pub(crate) struct DestinationRow {
    /// The destination. Null for spans without one, which Sentry shows as "(no value)".
    pub(crate) destination: Option<String>,
    #[serde(flatten)]
    pub(crate) figures: QueueFigures,
    /// Records of the destination. Not a part of Sentry's dashboard.
    pub(crate) flow: Flow,
}

/// A row of the second dashboard.
#[derive(Debug, Serialize)]
pub(crate) struct TransactionRow {
    pub(crate) transaction: Option<String>,
    #[serde(flatten)]
    pub(crate) figures: QueueFigures,
}

/// The dashboard.
#[derive(Debug, Serialize)]
pub(crate) struct Queues {
    #[serde(flatten)]
    pub(crate) scanned: Scanned,
    /// Length of the window, for the rates.
    pub(crate) minutes: f64,
    pub(crate) total: QueueFigures,
    pub(crate) destinations: Vec<DestinationRow>,
    pub(crate) consumers: Vec<TransactionRow>,
    pub(crate) producers: Vec<TransactionRow>,
    /// Queue spans without a destination or a system, which the dashboard cannot attribute.
    pub(crate) spans_incomplete: u64,
    /// Spans whose row does not exist, because a table has too many rows.
    pub(crate) spans_left_out: u64,
    /// True when each record of the flows could be told apart by its place.
    pub(crate) flow_exact: bool,
}

#[derive(Debug, Default)]
struct Sums {
    spans: u64,
    ok: u64,
    published: u64,
    processed: u64,
    duration_ms: f64,
    processing_ms: f64,
    latency_ms: f64,
    latencies: u64,
}

impl Sums {
    fn add(&mut self, span: &StoredSpan<'_, '_>, latency_ms: Option<f64>) {
        let duration_ms = span.duration_ms();
        self.spans += 1;
        self.ok += u64::from(span.segment.is_ok());
        self.duration_ms += duration_ms;
        if span.op == PROCESS {
            self.processed += 1;
            self.processing_ms += duration_ms;
        } else {
            self.published += 1;
        }
        if let Some(latency_ms) = latency_ms {
            self.latencies += 1;
            self.latency_ms += latency_ms;
        }
    }

    fn figures(&self, minutes: f64) -> QueueFigures {
        QueueFigures {
            avg_time_in_queue_ms: mean(self.latency_ms, self.latencies),
            avg_processing_ms: mean(self.processing_ms, self.processed),
            error_rate: mean(self.ok as f64, self.spans).map(|ok| 1.0 - ok),
            published: self.published,
            processed: self.processed,
            time_spent_ms: self.duration_ms,
            per_minute: self.spans as f64 / minutes,
        }
    }
}

#[derive(Debug, Default)]
struct Tables {
    extent: Extent,
    total: Sums,
    destinations: Rows<Option<String>, Sums>,
    consumers: Rows<Option<String>, Sums>,
    producers: Rows<Option<String>, Sums>,
    flows: Flows,
    incomplete: u64,
}

impl Tables {
    fn add(&mut self, span: &StoredSpan<'_, '_>) {
        if span.op != PUBLISH && span.op != PROCESS {
            return;
        }
        let attributes = span.attributes();
        let destination = attributes.text(DESTINATION).filter(|name| !name.is_empty());
        let latency_ms = attributes.number(LATENCY);
        self.extent.add(span.start, span.end);
        self.total.add(span, latency_ms);
        self.incomplete += u64::from(destination.is_none() || attributes.text(SYSTEM).is_none());
        self.flow(span, destination.as_deref(), &attributes);
        let by_transaction = if span.op == PROCESS { &mut self.consumers } else { &mut self.producers };
        let rows = [self.destinations.row(destination), by_transaction.row(span.segment.name.clone())];
        for sums in rows.into_iter().flatten() {
            sums.add(span, latency_ms);
        }
    }

    fn flow(
        &mut self,
        span: &StoredSpan<'_, '_>,
        destination: Option<&str>,
        attributes: &SpanAttributes<'_>,
    ) {
        match destination {
            Some(destination) if span.op == PUBLISH => self.flows.published(destination, attributes),
            Some(destination) => self.flows.processed(destination, attributes),
            None => {}
        }
    }

    fn finish(self, window: Window, scanned: Scanned) -> Queues {
        let minutes = window.minutes(self.extent.first, self.extent.last);
        let spans_left_out =
            self.destinations.left_out() + self.consumers.left_out() + self.producers.left_out();
        let (mut flows, flow_exact) = self.flows.finish();
        let destinations = self.destinations.sorted(
            |destination, sums| DestinationRow {
                destination,
                figures: sums.figures(minutes),
                flow: Flow::default(),
            },
            |row| row.figures.time_spent_ms,
        );
        let destinations = destinations
            .into_iter()
            .map(|row| {
                let flow = row.destination.as_ref().and_then(|name| flows.remove(name));
                DestinationRow { flow: flow.unwrap_or_default(), ..row }
            })
            .collect();
        let transactions = |rows: Rows<Option<String>, Sums>| {
            rows.sorted(
                |transaction, sums| TransactionRow { transaction, figures: sums.figures(minutes) },
                |row| row.figures.time_spent_ms,
            )
        };
        Queues {
            scanned,
            minutes,
            total: self.total.figures(minutes),
            destinations,
            consumers: transactions(self.consumers),
            producers: transactions(self.producers),
            spans_incomplete: self.incomplete,
            spans_left_out,
            flow_exact: flow_exact && !scanned.truncated,
        }
    }
}

/// Computes the dashboard of a window.
pub(crate) fn compute(query: &Query, window: Window) -> Result<Queues, WriteError> {
    let mut tables = Tables::default();
    let scanned = scan(query, window, Kinds::any_of(&READ_TYPES), |opened| {
        spans::each_span(opened.envelope, opened.source.received_at, |span| tables.add(span));
        for item in opened.envelope.items.iter().filter(|item| item.item_type() == "trace_metric") {
            tables.flows.metrics(item);
        }
    })?;
    Ok(tables.finish(window, scanned))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::protocol::envelope::Envelope;

    fn tables(items: &[(&str, serde_json::Value)]) -> Tables {
        let mut tables = Tables::default();
        for (item_type, payload) in items {
            let body = format!("{{}}\n{{\"type\":\"{item_type}\"}}\n{payload}\n");
            let envelope = Envelope::parse(body.as_bytes()).expect("an envelope");
            spans::each_span(&envelope, 9.0, |span| tables.add(span));
            if *item_type == "trace_metric" {
                envelope.items.iter().for_each(|item| tables.flows.metrics(item));
            }
        }
        tables
    }

    fn segment(
        op: &str,
        status: &str,
        data: serde_json::Value,
        children: serde_json::Value,
    ) -> serde_json::Value {
        json!({"transaction": format!("t-{op}"), "start_timestamp": 10.0, "timestamp": 10.5,
            "contexts": {"trace": {"op": op, "status": status, "data": data}}, "spans": children})
    }

    fn place(group: &str, offset: i64, latency_ms: i64) -> serde_json::Value {
        json!({"messaging.destination.name": "bets", "messaging.system": "kafka", "messaging.consumer.group.name": group,
            "messaging.destination.partition.id": "0", "messaging.kafka.offset": offset,
            "messaging.message.receive.latency": latency_ms})
    }

    fn publish(offset: Option<i64>) -> serde_json::Value {
        json!({"op": "queue.publish", "status": "ok", "start_timestamp": 10.0, "timestamp": 10.1,
            "data": {"messaging.destination.name": "bets", "messaging.system": "kafka",
                "messaging.destination.partition.id": "0", "messaging.kafka.offset": offset}})
    }

    #[test]
    fn publish_of_failed_request_is_an_error() {
        let failed = segment("http.server", "internal_error", json!({}), json!([publish(Some(0))]));
        let handled = segment("queue.process", "ok", place("game", 0, 30), json!([]));
        let sums = tables(&[("transaction", failed), ("transaction", handled)]).total.figures(1.0);
        assert_eq!(sums.error_rate, Some(0.5), "by the status of the segment");
        assert_eq!((sums.published, sums.processed), (1, 1));
        assert_eq!(sums.avg_time_in_queue_ms, Some(30.0), "a publish has no latency and does not count");
        assert_eq!(sums.avg_processing_ms.map(f64::round), Some(500.0));
        assert!((sums.time_spent_ms - 600.0).abs() < 0.1 && (sums.per_minute - 2.0).abs() < 1e-9);
    }

    #[test]
    fn flow_balances_redelivered_and_skipped() {
        let skipped = json!({"items": [{"name": "pitboss.bus.records.skipped", "value": 2.0, "attributes": {
            "messaging.destination.name": {"value": "bets"}, "messaging.consumer.group.name": {"value": "user"}}}]});
        let sent = json!([publish(Some(0)), publish(Some(1)), publish(None)]);
        let tables = tables(&[
            ("transaction", segment("http.server", "ok", json!({}), sent)),
            ("transaction", segment("queue.process", "ok", place("game", 0, 1), json!([]))),
            ("transaction", segment("queue.process", "ok", place("game", 1, 1), json!([]))),
            ("transaction", segment("queue.process", "ok", place("game", 1, 1), json!([]))),
            ("transaction", segment("queue.process", "ok", place("late", 0, 1), json!([]))),
            ("trace_metric", skipped),
        ]);
        let (flows, is_exact) = tables.flows.finish();
        let flow = &flows["bets"];
        assert_eq!((flow.acknowledged, flow.without_offset, is_exact), (2, 1, true));
        let groups: Vec<_> = flow
            .groups
            .iter()
            .map(|row| (row.group.as_str(), row.processed, row.skipped, row.redelivered, row.missing))
            .collect();
        assert_eq!(groups, [("game", 3, 0, 1, 0), ("late", 1, 0, 0, 1), ("user", 0, 2, 0, 0)]);
    }

    #[test]
    fn spans_without_destination_have_a_row() {
        let nameless = segment("queue.process", "ok", json!({"messaging.system": "kafka"}), json!([]));
        let other = segment("queue.receive", "ok", place("game", 0, 1), json!([]));
        let tables = tables(&[("transaction", nameless), ("transaction", other)]);
        assert_eq!((tables.incomplete, tables.total.spans), (1, 1), "other ops are not shown");
        let rows = tables.destinations.sorted(|name, sums| (name, sums.spans), |_| 0.0);
        assert_eq!(rows, [(None, 1)]);
    }
}
