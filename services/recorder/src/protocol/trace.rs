//! One trace, assembled from the envelopes of all services.
//!
//! It guarantees that nothing is repaired, so that the reader can judge the original data. A span that was sent twice
//! appears twice and is in `duplicates`, an error event that was sent twice appears twice, and a parent that never arrived is in
//! `missing_parents`. Memory is bounded in bytes, and `left_out` counts what did not fit. Stored data is never reported as missing.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    fields::{Fields, LABEL_BYTES_MAX},
    profile::comparable_profiler_id,
};

/// Attributes of a span with the id of its continuous profile, as the protocol has it and as the SDK for Python sends it.
const PROFILER_ATTRIBUTES: [&str; 2] = ["sentry.profiler_id", "profiler_id"];

/// A trace as queries return it.
#[derive(Debug, Serialize)]
pub struct Trace {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// Projects that sent a part of it, in order of their first span.
    pub services: Vec<String>,
    /// All spans in order of their start, including the root span of each transaction.
    pub spans: Vec<Span>,
    /// Error events in order of time.
    pub errors: Vec<TraceError>,
    /// Log entries in order of time.
    pub logs: Vec<Log>,
    /// Metrics in order of time.
    pub metrics: Vec<Metric>,
    /// Parent ids that no span has. Empty when anything was left out, because the parent may be in that.
    pub missing_parents: Vec<String>,
    /// Ids that more than one of the shown spans has.
    pub duplicates: Vec<String>,
    /// True when anything was left out.
    pub truncated: bool,
    /// Counts of what was left out.
    pub left_out: LeftOut,
    /// Parents that are not among the shown spans, because they are missing or were left out.
    #[serde(skip)]
    pub absent_parents: Vec<String>,
}

/// Counts of what is stored of a trace but not shown, because a response has a limit.
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
    /// Envelopes with a part of the trace that were not read.
    pub envelopes: u64,
}

/// One span.
#[derive(Debug, Serialize)]
pub struct Span {
    /// 16 hexadecimal digits.
    pub span_id: String,
    /// Parent span. Absent for a root.
    pub parent_span_id: Option<String>,
    /// Name of the project that sent it.
    pub project: String,
    /// Release that sent it.
    pub release: Option<String>,
    /// Kind of work.
    pub op: String,
    /// Description of the work. For the root span of a transaction it is the transaction's name.
    pub description: Option<String>,
    /// Status, as Sentry names it.
    pub status: Option<String>,
    /// Start, in seconds since the epoch.
    pub start: f64,
    /// End, in seconds since the epoch.
    pub end: f64,
    /// Attributes.
    pub data: Box<RawValue>,
    /// Links to other spans.
    pub links: Box<RawValue>,
    /// True for the root span of a transaction, and for a streamed segment.
    pub is_transaction: bool,
    /// The envelope that carried it.
    pub seq: u64,
    /// Where the samples of a continuous profile are that it has.
    #[serde(skip)]
    pub profiled: Option<Profiled>,
}

/// The continuous profile that ran during a span, and the span's thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profiled {
    /// Id of the profile ([`comparable_profiler_id`]).
    pub profiler_id: String,
    /// Thread that the span began on. `None` when nobody said it.
    pub thread_id: Option<String>,
}

impl Profiled {
    /// Reads the attributes of a span. What they do not name is that of the transaction's root.
    ///
    /// Ids of threads are those of one process, and a service has several. So a span without a profile has no samples, as in Sentry.
    #[must_use]
    pub fn read(data: &RawValue, root: Option<&Self>) -> Option<Self> {
        let data = Fields::of(Some(data));
        let own = PROFILER_ATTRIBUTES.iter().find_map(|name| data.short(name, LABEL_BYTES_MAX));
        let own = own.map(|id| comparable_profiler_id(&id));
        let root = root.filter(|root| own.as_ref().is_none_or(|id| *id == root.profiler_id));
        let thread_id = data.short("thread.id", LABEL_BYTES_MAX);
        Some(Self {
            thread_id: thread_id.or_else(|| root.and_then(|root| root.thread_id.clone())),
            profiler_id: own.or_else(|| root.map(|root| root.profiler_id.clone()))?,
        })
    }
}

/// One error event.
#[derive(Debug, Serialize)]
pub struct TraceError {
    /// The event's id.
    pub event_id: Option<String>,
    /// Issue that the event belongs to.
    pub issue_id: String,
    /// Name of the project that sent it.
    pub project: String,
    /// Release that sent it.
    pub release: Option<String>,
    /// Span in which it happened.
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
    /// Message of the main exception, otherwise of the event.
    pub value: Option<String>,
    /// Place where it happened.
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
    /// Trace in which it was written.
    pub trace_id: Option<String>,
    /// Span in which it was written.
    pub span_id: Option<String>,
    /// Fields of the entry.
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
    /// Name of the metric.
    pub name: Option<String>,
    /// `counter`, `gauge` or `distribution`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The value.
    pub value: Option<Box<RawValue>>,
    /// Unit of the value.
    pub unit: Option<String>,
    /// Trace in which it was measured.
    pub trace_id: Option<String>,
    /// Span in which it was measured.
    pub span_id: Option<String>,
    /// Labels of the metric.
    pub attributes: Box<RawValue>,
    /// The envelope that carried it.
    pub seq: u64,
}

/// Origin of an envelope.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Position in the journal.
    pub seq: u64,
    /// Time of receipt, in seconds since the epoch. It replaces missing times.
    pub received_at: f64,
    /// Numeric id of the project.
    pub project: u32,
    /// Name of the project.
    pub name: &'a str,
}
