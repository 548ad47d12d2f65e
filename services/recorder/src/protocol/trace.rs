//! One trace, put together from the envelopes of every service.
//!
//! Promise: nothing is repaired. A span that was sent twice appears twice (and is named in `duplicates`), a parent that
//! never arrived is named in `missing_parents`: the reader judges, the witness tells. Memory is bounded in bytes, and what
//! did not fit is counted in `left_out`; nothing that is kept is ever called missing.

mod assembly;

use serde::Serialize;
use serde_json::value::RawValue;

pub use assembly::{Assembly, logs, metrics, trace_error};

/// A trace as it is answered.
#[derive(Debug, Serialize)]
pub struct Trace {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// Projects that sent any of it, in order of their first span.
    pub services: Vec<String>,
    /// Every span, a transaction's root span included, in order of their start.
    pub spans: Vec<Span>,
    /// Error events in order of time.
    pub errors: Vec<TraceError>,
    /// Log entries in order of time.
    pub logs: Vec<Log>,
    /// Metrics in order of time.
    pub metrics: Vec<Metric>,
    /// Ids that a span names as its parent and that no span has. Empty when anything was left out: it may be there.
    pub missing_parents: Vec<String>,
    /// Ids that more than one span has, of those that are shown.
    pub duplicates: Vec<String>,
    /// True where anything was left out.
    pub truncated: bool,
    /// What was left out.
    pub left_out: LeftOut,
    /// Parents that are not among the spans shown, missing or left out.
    #[serde(skip)]
    pub absent_parents: Vec<String>,
}

/// How much of a trace is kept and not shown, because an answer has a limit.
#[derive(Clone, Copy, Debug, Default, Serialize, PartialEq, Eq)]
pub struct LeftOut {
    /// Spans of envelopes that were read.
    pub spans: u64,
    /// Error events of envelopes that were read.
    pub errors: u64,
    /// Log entries of envelopes that were read.
    pub logs: u64,
    /// Metrics of envelopes that were read.
    pub metrics: u64,
    /// Envelopes with some of the trace that were not read.
    pub envelopes: u64,
}

/// One span.
#[derive(Debug, Serialize)]
pub struct Span {
    /// 16 hexadecimal digits.
    pub span_id: String,
    /// Parent, absent for a root.
    pub parent_span_id: Option<String>,
    /// Name of the project that sent it.
    pub project: String,
    /// Release that sent it.
    pub release: Option<String>,
    /// What kind of work.
    pub op: String,
    /// What work exactly; a transaction's name for its root span.
    pub description: Option<String>,
    /// Sentry's status name.
    pub status: Option<String>,
    /// Seconds since the epoch.
    pub start: f64,
    /// Seconds since the epoch.
    pub end: f64,
    /// Attributes.
    pub data: Box<RawValue>,
    /// Links to other spans.
    pub links: Box<RawValue>,
    /// True for the root span of a transaction.
    pub is_transaction: bool,
    /// The envelope that carried it.
    pub seq: u64,
}

/// One error event.
#[derive(Debug, Serialize)]
pub struct TraceError {
    /// The event's id.
    pub event_id: Option<String>,
    /// The issue it belongs to.
    pub issue_id: String,
    /// Name of the project that sent it.
    pub project: String,
    /// Release that sent it.
    pub release: Option<String>,
    /// Span it happened in.
    pub span_id: Option<String>,
    /// Seconds since the epoch.
    pub timestamp: f64,
    /// `error`, `fatal`, ….
    pub level: Option<String>,
    /// `Type: value`, or the message.
    pub title: String,
    /// Class of the main exception.
    #[serde(rename = "type")]
    pub class: Option<String>,
    /// Its message.
    pub value: Option<String>,
    /// Where it happened.
    pub culprit: Option<String>,
    /// False for a panic or a crash.
    pub handled: bool,
    /// The envelope that carried it.
    pub seq: u64,
}

/// One log entry.
#[derive(Debug, Serialize)]
pub struct Log {
    /// Name of the project that wrote it.
    pub project: String,
    /// Seconds since the epoch.
    pub timestamp: f64,
    /// `info`, `warn`, ….
    pub level: Option<String>,
    /// The text.
    pub body: Option<String>,
    /// Trace it was written in.
    pub trace_id: Option<String>,
    /// Span it was written in.
    pub span_id: Option<String>,
    /// Its fields.
    pub attributes: Box<RawValue>,
    /// The envelope that carried it.
    pub seq: u64,
}

/// One metric.
#[derive(Debug, Serialize)]
pub struct Metric {
    /// Name of the project that measured it.
    pub project: String,
    /// Release that measured it, from its attributes.
    pub release: Option<String>,
    /// Seconds since the epoch.
    pub timestamp: f64,
    /// Its name.
    pub name: Option<String>,
    /// `counter`, `gauge` or `distribution`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The value.
    pub value: Option<Box<RawValue>>,
    /// Its unit.
    pub unit: Option<String>,
    /// Trace it was measured in.
    pub trace_id: Option<String>,
    /// Span it was measured in.
    pub span_id: Option<String>,
    /// Its labels.
    pub attributes: Box<RawValue>,
    /// The envelope that carried it.
    pub seq: u64,
}

/// Where an envelope comes from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Its place in the journal.
    pub seq: u64,
    /// When it was received, in seconds since the epoch: what has no time of its own happened then.
    pub received_at: f64,
    /// Numeric id of the project.
    pub project: u32,
    /// Name of the project.
    pub name: &'a str,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::protocol::envelope::Envelope;

    #[test]
    fn a_child_of_another_trace_is_not_shown() {
        let (ours, other) = ("ab".repeat(16), "cd".repeat(16));
        let transaction = json!({"contexts": {"trace": {"trace_id": ours, "span_id": "root"}}, "spans": [
            {"span_id": "ours", "trace_id": ours}, {"span_id": "unnamed"}, {"span_id": "other", "trace_id": other}]});
        let body = format!("{{}}\n{{\"type\":\"transaction\"}}\n{transaction}\n");
        let envelope = Envelope::parse(body.as_bytes()).expect("an envelope");
        let mut assembly = Assembly::new([0xab; 16], 1 << 20);
        assembly.add(Source { seq: 1, received_at: 1.0, project: 1, name: "game" }, &envelope);
        let trace = assembly.finish().expect("a trace");
        let ids: Vec<_> = trace.spans.iter().map(|span| span.span_id.as_str()).collect();
        assert_eq!(ids, ["root", "ours", "unnamed"]);
    }
}
