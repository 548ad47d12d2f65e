//! One trace, put together from the envelopes of every service.
//!
//! Promise: nothing is repaired. A span that was sent twice appears twice (and is named in `duplicates`), a parent that
//! never arrived is named in `missing_parents`: the reader judges, the witness tells.

use std::collections::{BTreeSet, HashSet};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::{
    digest,
    envelope::{Envelope, Item},
    event::{
        Attributes, Batch, ErrorEvent, LogPayload, MetricPayload, SpanPayload, SpanV2Payload, Transaction,
    },
    grouping,
};

/// More spans than a page or a person can use; above it the answer says that it is cut.
pub const SPANS_MAX: usize = 20_000;

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
    /// Ids that a span names as its parent and that no span has.
    pub missing_parents: Vec<String>,
    /// Ids that more than one span has.
    pub duplicates: Vec<String>,
    /// True where more than [`SPANS_MAX`] spans arrived and the rest is left out.
    pub truncated: bool,
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
    /// Numeric id of the project.
    pub project: u32,
    /// Name of the project.
    pub name: &'a str,
}

/// Collects one trace, envelope by envelope.
#[derive(Debug)]
pub struct Assembly {
    trace_id: [u8; 16],
    spans: Vec<Span>,
    errors: Vec<TraceError>,
    logs: Vec<Log>,
    metrics: Vec<Metric>,
    truncated: bool,
}

impl Assembly {
    /// An empty trace.
    #[must_use]
    pub fn new(trace_id: [u8; 16]) -> Self {
        let (spans, errors, logs, metrics) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { trace_id, spans, errors, logs, metrics, truncated: false }
    }

    /// Takes what belongs to the trace out of one envelope.
    pub fn add(&mut self, source: Source<'_>, envelope: &Envelope<'_>) {
        let trace_id = self.trace_id;
        for item in &envelope.items {
            match item.item_type().as_ref() {
                "transaction" => self.transaction(source, item),
                "event" => self.error(source, item),
                "span" => self.span_item(source, item),
                "log" => self.logs.extend(
                    entries::<LogPayload>(item)
                        .filter(|entry| is_trace(trace_id, entry.trace_id.as_deref()))
                        .map(|entry| log(source, entry)),
                ),
                "trace_metric" => self.metrics.extend(
                    metrics(source, item).filter(|metric| is_trace(trace_id, metric.trace_id.as_deref())),
                ),
                _ => {}
            }
        }
    }

    /// The finished trace, or nothing where no envelope had any of it.
    #[must_use]
    pub fn finish(mut self) -> Option<Trace> {
        if self.spans.is_empty() && self.errors.is_empty() && self.logs.is_empty() && self.metrics.is_empty()
        {
            return None;
        }
        self.spans.sort_by(|a, b| a.start.total_cmp(&b.start).then_with(|| b.end.total_cmp(&a.end)));
        self.errors.sort_by(|a, b| a.timestamp.total_cmp(&b.timestamp));
        self.logs.sort_by(|a, b| a.timestamp.total_cmp(&b.timestamp));
        self.metrics.sort_by(|a, b| a.timestamp.total_cmp(&b.timestamp));
        let mut ids = HashSet::new();
        let duplicates: BTreeSet<String> = self
            .spans
            .iter()
            .filter(|span| !ids.insert(span.span_id.as_str()))
            .map(|span| span.span_id.clone())
            .collect();
        let parents = self.spans.iter().filter_map(|span| span.parent_span_id.as_deref());
        let missing: BTreeSet<String> =
            parents.filter(|parent| !ids.contains(parent)).map(str::to_owned).collect();
        Some(Trace {
            trace_id: hex::encode(self.trace_id),
            services: self.services(),
            missing_parents: missing.into_iter().collect(),
            duplicates: duplicates.into_iter().collect(),
            spans: self.spans,
            errors: self.errors,
            logs: self.logs,
            metrics: self.metrics,
            truncated: self.truncated,
        })
    }

    fn services(&self) -> Vec<String> {
        let spans = self.spans.iter().map(|span| &span.project);
        let errors = self.errors.iter().map(|error| &error.project);
        let logs = self.logs.iter().map(|log| &log.project);
        let metrics = self.metrics.iter().map(|metric| &metric.project);
        let mut seen = HashSet::new();
        spans.chain(errors).chain(logs).chain(metrics).filter(|name| seen.insert(*name)).cloned().collect()
    }

    fn is_mine(&self, text: Option<&str>) -> bool {
        is_trace(self.trace_id, text)
    }

    fn push(&mut self, span: Span) {
        if self.spans.len() < SPANS_MAX {
            self.spans.push(span);
        } else {
            self.truncated = true;
        }
    }

    fn transaction(&mut self, source: Source<'_>, item: &Item<'_>) {
        let Ok(transaction) = serde_json::from_slice::<Transaction>(item.payload) else { return };
        let mut root = transaction.contexts.trace;
        if !self.is_mine(root.trace_id.as_deref()) {
            return;
        }
        root.start_timestamp = transaction.start_timestamp;
        root.timestamp = transaction.timestamp;
        root.description = transaction.transaction.or(root.description);
        let release = transaction.release;
        self.push(span(source, release.as_deref(), root, true));
        for child in transaction.spans {
            // A child without a trace id belongs to its transaction; one of another trace does not belong here.
            if child.trace_id.is_none() || self.is_mine(child.trace_id.as_deref()) {
                self.push(span(source, release.as_deref(), child, false));
            }
        }
    }

    fn span_item(&mut self, source: Source<'_>, item: &Item<'_>) {
        let mut found = false;
        for entry in entries::<SpanV2Payload>(item) {
            found = true;
            if self.is_mine(entry.trace_id.as_deref()) {
                self.push(span_v2(source, entry));
            }
        }
        if found {
            return;
        }
        let Ok(payload) = serde_json::from_slice::<SpanPayload>(item.payload) else { return };
        if self.is_mine(payload.trace_id.as_deref()) {
            let release = payload.release.clone();
            self.push(span(source, release.as_deref(), payload, false));
        }
    }

    fn error(&mut self, source: Source<'_>, item: &Item<'_>) {
        let Ok(event) = serde_json::from_slice::<ErrorEvent>(item.payload) else { return };
        if self.is_mine(event.contexts.trace.trace_id.as_deref()) {
            self.errors.push(trace_error(source, &event));
        }
    }
}

/// An error event as a trace or an issue shows it.
#[must_use]
pub fn trace_error(source: Source<'_>, event: &ErrorEvent) -> TraceError {
    let main = event.main_exception();
    TraceError {
        event_id: event.event_id.clone(),
        issue_id: grouping::issue_id(source.project, event).simple().to_string(),
        project: source.name.to_owned(),
        release: event.release.clone(),
        span_id: event.contexts.trace.span_id.clone(),
        timestamp: event.timestamp.seconds(),
        level: event.level.clone(),
        title: event.title(),
        class: main.and_then(|exception| exception.class.clone()),
        value: main
            .and_then(|exception| exception.value.clone())
            .or_else(|| event.message_text().map(str::to_owned)),
        culprit: event.culprit(),
        handled: event.handled(),
        seq: source.seq,
    }
}

/// The metrics of one item, of whatever trace.
pub fn metrics<'a>(source: Source<'a>, item: &Item<'a>) -> impl Iterator<Item = Metric> + use<'a> {
    entries::<MetricPayload>(item).map(move |entry| Metric {
        project: source.name.to_owned(),
        release: text_attribute(&entry.attributes, "sentry.release"),
        timestamp: entry.timestamp.seconds(),
        name: entry.name,
        kind: entry.kind,
        value: entry.value,
        unit: entry.unit,
        trace_id: entry.trace_id,
        span_id: entry.span_id,
        attributes: flat(&entry.attributes),
        seq: source.seq,
    })
}

/// The readable entries of a batch item.
fn entries<'a, T: DeserializeOwned>(item: &Item<'a>) -> impl Iterator<Item = T> + use<'a, T> {
    let batch = serde_json::from_slice::<Batch<'a>>(item.payload).unwrap_or_default();
    batch.items.into_iter().filter_map(|entry| serde_json::from_str(entry.get()).ok())
}

fn is_trace(trace_id: [u8; 16], text: Option<&str>) -> bool {
    text.and_then(digest::trace_id) == Some(trace_id)
}

fn span(source: Source<'_>, release: Option<&str>, payload: SpanPayload, is_transaction: bool) -> Span {
    Span {
        span_id: payload.span_id.unwrap_or_default(),
        parent_span_id: payload.parent_span_id,
        project: source.name.to_owned(),
        release: release.map(str::to_owned),
        op: payload.op.unwrap_or_default(),
        description: payload.description,
        status: payload.status,
        start: payload.start_timestamp.seconds(),
        end: payload.timestamp.seconds(),
        data: shaped(payload.data, '{', "{}"),
        links: shaped(payload.links, '[', "[]"),
        is_transaction,
        seq: source.seq,
    }
}

fn span_v2(source: Source<'_>, payload: SpanV2Payload) -> Span {
    Span {
        span_id: payload.span_id.unwrap_or_default(),
        parent_span_id: payload.parent_span_id,
        project: source.name.to_owned(),
        release: text_attribute(&payload.attributes, "sentry.release"),
        op: text_attribute(&payload.attributes, "sentry.op").unwrap_or_default(),
        description: payload.name,
        status: payload.status,
        start: payload.start_timestamp.seconds(),
        end: payload.end_timestamp.seconds(),
        data: flat(&payload.attributes),
        links: shaped(payload.links, '[', "[]"),
        is_transaction: payload.is_segment,
        seq: source.seq,
    }
}

fn log(source: Source<'_>, payload: LogPayload) -> Log {
    Log {
        project: source.name.to_owned(),
        timestamp: payload.timestamp.seconds(),
        level: payload.level,
        body: payload.body,
        trace_id: payload.trace_id,
        span_id: payload.span_id,
        attributes: flat(&payload.attributes),
        seq: source.seq,
    }
}

fn text_attribute(attributes: &Attributes, name: &str) -> Option<String> {
    attributes.get(name).and_then(|attribute| serde_json::from_str(attribute.value.get()).ok())
}

/// `{"name": value}` instead of `{"name": {"value": …, "type": …}}`.
fn flat(attributes: &Attributes) -> Box<RawValue> {
    let plain: std::collections::BTreeMap<&str, &RawValue> =
        attributes.iter().map(|(name, attribute)| (name.as_str(), attribute.value.as_ref())).collect();
    serde_json::value::to_raw_value(&plain).unwrap_or_default()
}

/// The value where it has the expected shape, else an empty one, so that readers need no special case.
fn shaped(value: Option<Box<RawValue>>, opening: char, empty: &str) -> Box<RawValue> {
    value
        .filter(|value| value.get().starts_with(opening))
        .or_else(|| RawValue::from_string(empty.to_owned()).ok())
        .unwrap_or_default()
}
