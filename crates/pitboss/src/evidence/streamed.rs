//! Streamed spans (item `span`, version 2), read as the transactions that they would have been.
//!
//! A segment is the span that a transaction would have been made of. A span names its segment in an attribute. The status of a failed
//! span is only `error`, and another attribute has the name that Sentry knows for a transaction's span.

use serde_json::{Map, Value};
use telemetry::Status;

use super::observation::{Transaction, text};
use crate::trace::Span;

const OP: &str = "sentry.op";
const SEGMENT_ID: &str = "sentry.segment.id";
const STATUS_MESSAGE: &str = "sentry.status.message";

/// Adds the segments of one item as transactions, and its other spans to theirs, which may have come in an earlier item.
pub(super) fn add(transactions: &mut Vec<Transaction>, service: &str, payload: &Value) {
    let spans = payload.get("items").and_then(Value::as_array).into_iter().flatten();
    let (segments, others): (Vec<&Value>, Vec<&Value>) = spans.partition(|span| is_segment(span));
    for segment in segments {
        transactions.extend(transaction(service, segment));
    }
    for other in others {
        let Some(read) = transaction(service, other) else { continue };
        let segment = read.spans.first().and_then(|span| span.text(SEGMENT_ID));
        let of_segment = |known: &&mut Transaction| {
            let first = known.spans.first();
            known.service == service && first.is_some_and(|first| Some(first.span_id.as_str()) == segment)
        };
        match transactions.iter_mut().rev().find(of_segment) {
            Some(known) => known.spans.extend(read.spans),
            None => transactions.push(read),
        }
    }
}

fn is_segment(span: &Value) -> bool {
    span.get("is_segment").and_then(Value::as_bool).unwrap_or_default()
}

/// Reads one span as a transaction without other spans. Returns `None` for one without a trace.
fn transaction(service: &str, span: &Value) -> Option<Transaction> {
    let attributes = span.get("attributes").and_then(Value::as_object).into_iter().flatten();
    let data: Map<String, Value> = attributes
        .filter_map(|(name, attribute)| Some((name.clone(), attribute.get("value")?.clone())))
        .collect();
    let attribute = |name: &str| data.get(name).and_then(Value::as_str).map(str::to_owned);
    let time = |key: &str| span.get(key).and_then(Value::as_f64).unwrap_or_default();
    let read = Span {
        span_id: text(span, "span_id")?,
        parent_span_id: text(span, "parent_span_id"),
        project: service.to_owned(),
        op: attribute(OP).unwrap_or_default(),
        description: text(span, "name"),
        status: status(text(span, "status"), attribute(STATUS_MESSAGE).as_deref()),
        start: time("start_timestamp"),
        end: time("end_timestamp"),
        is_transaction: is_segment(span),
        data,
    };
    Some(Transaction { service: service.to_owned(), trace_id: text(span, "trace_id")?, spans: vec![read] })
}

/// The name of the status. A message that is not the name of a failure is text for people.
fn status(sent: Option<String>, message: Option<&str>) -> Option<String> {
    let reason = message.and_then(Status::from_name).filter(|reason| *reason != Status::Ok);
    match (sent.as_deref(), reason) {
        (Some("error"), Some(reason)) => Some(reason.as_str().to_owned()),
        _ => sent,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::evidence::{Evidence, Observation};

    const TRACE: &str = "abababababababababababababababab";

    fn typed(value: &str) -> Value {
        json!({ "value": value, "type": "string" })
    }

    fn segment(id: &str, reason: &str) -> Value {
        json!({
            "trace_id": TRACE, "span_id": id, "parent_span_id": "elsewhere", "name": "bets", "is_segment": true,
            "status": if reason == "ok" { "ok" } else { "error" }, "start_timestamp": 10.0, "end_timestamp": 12.5,
            "attributes": { "sentry.op": typed("queue.process"), "sentry.status.message": typed(reason), "attempt": { "value": 2 } },
        })
    }

    fn child(id: &str, segment: &str) -> Value {
        json!({
            "trace_id": TRACE, "span_id": id, "parent_span_id": segment, "name": "find", "is_segment": false, "status": "ok",
            "start_timestamp": 10.1, "end_timestamp": 12.1,
            "attributes": { "sentry.op": typed("db"), "sentry.segment.id": typed(segment) },
        })
    }

    /// Ids of the spans of each transaction.
    fn ids(transactions: &[Transaction]) -> Vec<Vec<&str>> {
        transactions
            .iter()
            .map(|known| known.spans.iter().map(|span| span.span_id.as_str()).collect())
            .collect()
    }

    #[test]
    fn segments_are_transactions_with_their_children() {
        let mut read = Vec::new();
        let first = json!({ "items": [child("b1", "b"), segment("a", "ok"), child("a1", "a"), segment("b", "unavailable"), 7] });
        add(&mut read, "game", &first);
        assert_eq!(ids(&read), [vec!["a", "a1"], vec!["b", "b1"]]);
        add(&mut read, "game", &json!({ "items": [child("b2", "b"), child("c1", "c")] }));
        add(&mut read, "user", &json!({ "items": [child("a2", "a")] }));
        assert_eq!(
            ids(&read),
            [vec!["a", "a1"], vec!["b", "b1", "b2"], vec!["c1"], vec!["a2"]],
            "the rest of a segment may follow, and another service has its own"
        );
        let seen = Observation { transactions: read, ..Observation::default() };
        assert_eq!(seen.segments().count(), 2, "a child alone is no segment");
        let (transaction, of_b) = seen.segments().last().unwrap();
        assert_eq!((transaction.trace_id.as_str(), transaction.service.as_str()), (TRACE, "game"));
        assert_eq!((of_b.op.as_str(), of_b.description.as_deref()), ("queue.process", Some("bets")));
        assert_eq!((of_b.status.as_deref(), &of_b.data["attempt"]), (Some("unavailable"), &json!(2)));
        assert!(
            (of_b.duration_ms() - 2_500.0).abs() < 0.001
                && of_b.parent_span_id.as_deref() == Some("elsewhere")
        );
    }

    #[test]
    fn status_of_a_streamed_segment_is_evidence() {
        let found = |reason: &str| {
            let mut transactions = Vec::new();
            add(&mut transactions, "game", &json!({ "items": [segment("a", reason)] }));
            let status =
                transactions.first().and_then(|transaction| transaction.spans.first()?.status.clone());
            let seen = Observation { transactions, ..Observation::default() };
            let rate = Evidence::ErrorRateAbove { percent: 1, count_min: 1 };
            (status.unwrap_or_default(), rate.find(&seen).is_some())
        };
        assert_eq!(found("ok"), ("ok".to_owned(), false));
        assert_eq!(found("cancelled"), ("cancelled".to_owned(), false), "as in Sentry");
        assert_eq!(found("deadline_exceeded"), ("deadline_exceeded".to_owned(), true));
        assert_eq!(found("the disk is full"), ("error".to_owned(), true));
    }
}
