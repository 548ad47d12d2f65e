//! Collects the parts of one trace within a limit of bytes.

use std::collections::{BTreeSet, HashSet};

use serde_json::value::RawValue;

use super::{
    digest,
    envelope::{self, Envelope, Item},
    event::{ErrorEvent, SpanPayload, Transaction},
    fields::{self, Fields},
    grouping,
    minidump::has_minidump,
    profile::comparable_profiler_id,
    signals::{self, Entry, SpanV2},
    trace::{LeftOut, Log, Metric, Profiled, Source, Span, Trace, TraceError},
};

/// Approximate cost of a row in addition to its texts.
const ROW_BYTES: usize = 256;

/// Collects one trace, envelope by envelope.
#[derive(Debug)]
pub struct Assembly {
    trace_id: [u8; 16],
    bytes_left: usize,
    spans: Vec<Span>,
    errors: Vec<TraceError>,
    logs: Vec<Log>,
    metrics: Vec<Metric>,
    left_out: LeftOut,
}

impl Assembly {
    /// Creates an empty trace that takes at most about this many bytes of memory.
    #[must_use]
    pub fn new(trace_id: [u8; 16], bytes_max: usize) -> Self {
        let (spans, errors, logs, metrics) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let left_out = LeftOut::default();
        Self { trace_id, bytes_left: bytes_max, spans, errors, logs, metrics, left_out }
    }

    /// Counts envelopes with a part of the trace that are not read.
    pub fn count_left_out_envelopes(&mut self, count: u64) {
        self.left_out.envelopes += count;
    }

    /// Adds the parts of the trace that one envelope contains.
    pub fn add(&mut self, source: Source<'_>, envelope: &Envelope<'_>) {
        let is_unread = has_minidump(envelope);
        for item in &envelope.items {
            let item_type = item.item_type();
            if !matches!(item_type.as_ref(), "transaction" | "event" | "span" | "log" | "trace_metric") {
                continue;
            }
            let Some(json) = item.json() else { continue };
            match item_type.as_ref() {
                "transaction" => self.transaction(source, json),
                "event" if is_unread => {}
                "event" => self.event(source, envelope, json),
                "span" => self.span_item(source, json),
                "log" => logs(source, item, |log| self.log(log)),
                _ => metrics(source, item, |metric| self.metric(metric)),
            }
        }
    }

    /// Returns the finished trace, or `None` when no envelope had a part of it.
    #[must_use]
    pub fn finish(mut self) -> Option<Trace> {
        let truncated = self.left_out != LeftOut::default();
        let is_empty = self.spans.is_empty()
            && self.errors.is_empty()
            && self.logs.is_empty()
            && self.metrics.is_empty();
        if is_empty && !truncated {
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
        let absent: BTreeSet<String> =
            parents.filter(|parent| !ids.contains(parent)).map(str::to_owned).collect();
        let absent_parents: Vec<String> = absent.into_iter().collect();
        Some(Trace {
            trace_id: hex::encode(self.trace_id),
            services: self.services(),
            missing_parents: if truncated { Vec::new() } else { absent_parents.clone() },
            duplicates: duplicates.into_iter().collect(),
            spans: self.spans,
            errors: self.errors,
            logs: self.logs,
            metrics: self.metrics,
            truncated,
            left_out: self.left_out,
            absent_parents,
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

    fn is_in_trace(&self, text: Option<&str>) -> bool {
        text.and_then(digest::trace_id) == Some(self.trace_id)
    }

    /// Reserves the bytes of a row. Returns false when they do not fit.
    fn reserve(&mut self, texts: &[usize]) -> bool {
        let bytes = texts.iter().sum::<usize>() + ROW_BYTES;
        let left = self.bytes_left.checked_sub(bytes);
        self.bytes_left = left.unwrap_or(self.bytes_left);
        left.is_some()
    }

    fn push(&mut self, span: Span) {
        let texts = [
            span.data.get().len(),
            span.links.get().len(),
            length(span.description.as_ref()),
            span.op.len(),
            length(span.status.as_ref()) + length(span.release.as_ref()),
            // The search for absent parents stores each id a second time.
            (span.span_id.len() + length(span.parent_span_id.as_ref())) * 2,
            span.profiled.as_ref().map_or(0, |on| on.profiler_id.len() + length(on.thread_id.as_ref())),
        ];
        if self.reserve(&texts) {
            self.spans.push(span);
        } else {
            self.left_out.spans += 1;
        }
    }

    fn transaction(&mut self, source: Source<'_>, json: &str) {
        let transaction = Transaction::parse(json);
        let mut root = SpanPayload::read(&transaction.trace);
        if !self.is_in_trace(root.trace_id.as_deref()) {
            return;
        }
        root.start_timestamp = transaction.start_timestamp;
        root.timestamp = transaction.timestamp;
        root.description = transaction.transaction.or(root.description);
        let release = transaction.release;
        let profiler_id = transaction.profiler_id.map(|id| comparable_profiler_id(&id));
        let named = profiler_id.map(|profiler_id| Profiled { profiler_id, thread_id: None });
        let root = span(source, release.as_deref(), root, true, named.as_ref());
        let profiled = root.profiled.clone();
        self.push(root);
        let Some(children) = transaction.spans else { return };
        fields::each_object(children.get(), |child| {
            let trace_id = child.text("trace_id");
            // A child without a trace id belongs to its transaction. A child of another trace does not belong here.
            if trace_id.is_none() || self.is_in_trace(trace_id.as_deref()) {
                let payload = SpanPayload::read(&child);
                self.push(span(source, release.as_deref(), payload, false, profiled.as_ref()));
            }
        });
    }

    fn span_item(&mut self, source: Source<'_>, json: &str) {
        let is_batch = signals::each_entry(json, |fields| {
            if self.is_in_trace(fields.text("trace_id").as_deref()) {
                self.push(span_v2(source, SpanV2::read(&fields)));
            }
        });
        if is_batch {
            return;
        }
        let payload = SpanPayload::read(&Fields::parse(json));
        if self.is_in_trace(payload.trace_id.as_deref()) {
            let release = payload.release.clone();
            self.push(span(source, release.as_deref(), payload, false, None));
        }
    }

    fn event(&mut self, source: Source<'_>, envelope: &Envelope<'_>, json: &str) {
        let event = ErrorEvent::parse(json);
        if event.kind.as_deref() == Some("transaction") {
            return self.transaction(source, json);
        }
        if event.is_feedback() || !self.is_in_trace(event.trace_id.as_deref()) {
            return;
        }
        let error = trace_error(source, envelope, &event);
        let texts = [error.title.len(), length(error.value.as_ref()), length(error.culprit.as_ref())];
        if self.reserve(&texts) {
            self.errors.push(error);
        } else {
            self.left_out.errors += 1;
        }
    }

    fn log(&mut self, log: Log) {
        if !self.is_in_trace(log.trace_id.as_deref()) {
            return;
        }
        if self.reserve(&[length(log.body.as_ref()), length(log.level.as_ref()), log.attributes.get().len()])
        {
            self.logs.push(log);
        } else {
            self.left_out.logs += 1;
        }
    }

    fn metric(&mut self, metric: Metric) {
        if !self.is_in_trace(metric.trace_id.as_deref()) {
            return;
        }
        let value = metric.value.as_ref().map_or(0, |value| value.get().len());
        let texts = [
            length(metric.name.as_ref()),
            length(metric.unit.as_ref()),
            value,
            metric.attributes.get().len(),
        ];
        if self.reserve(&texts) {
            self.metrics.push(metric);
        } else {
            self.left_out.metrics += 1;
        }
    }
}

fn length(text: Option<&String>) -> usize {
    text.map_or(0, String::len)
}

/// Returns an error event in the form that traces and issues show.
#[must_use]
pub fn trace_error(source: Source<'_>, envelope: &Envelope<'_>, event: &ErrorEvent) -> TraceError {
    let main = event.main_exception();
    let own_id = event.event_id.as_deref().and_then(envelope::event_id);
    TraceError {
        // The header's id takes precedence, as in Sentry. It is also the id in the response to the sender.
        event_id: Some(
            envelope
                .event_id()
                .or(own_id)
                .unwrap_or_else(|| envelope::generated_id(source.seq, source.received_at)),
        ),
        issue_id: grouping::issue_id(source.project, event).simple().to_string(),
        project: source.name.to_owned(),
        release: event.release.clone(),
        span_id: event.span_id.clone(),
        timestamp: event.timestamp.or(source.received_at),
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

/// Calls `each` with the log entries of one item, of any trace.
pub fn logs(source: Source<'_>, item: &Item<'_>, mut each: impl FnMut(Log)) {
    let Some(json) = item.json() else { return };
    signals::each_entry(json, |fields| {
        let entry = Entry::read(&fields);
        each(Log {
            project: source.name.to_owned(),
            timestamp: entry.timestamp.or(source.received_at),
            level: fields.text("level"),
            body: fields.text("body"),
            trace_id: entry.trace_id,
            span_id: entry.span_id,
            attributes: entry.attributes.flat(),
            seq: source.seq,
        });
    });
}

/// Calls `each` with the metrics of one item, of any trace.
pub fn metrics(source: Source<'_>, item: &Item<'_>, mut each: impl FnMut(Metric)) {
    let Some(json) = item.json() else { return };
    signals::each_entry(json, |fields| {
        let entry = Entry::read(&fields);
        each(Metric {
            project: source.name.to_owned(),
            release: entry.attributes.text("sentry.release"),
            timestamp: entry.timestamp.or(source.received_at),
            name: fields.text("name"),
            kind: fields.text("type"),
            value: fields.raw("value"),
            unit: fields.text("unit"),
            trace_id: entry.trace_id,
            span_id: entry.span_id,
            attributes: entry.attributes.flat(),
            seq: source.seq,
        });
    });
}

fn span(
    source: Source<'_>,
    release: Option<&str>,
    payload: SpanPayload,
    is_transaction: bool,
    root: Option<&Profiled>,
) -> Span {
    let end = payload.timestamp.or(source.received_at);
    let data = shaped(payload.data, '{', "{}");
    Span {
        span_id: payload.span_id.unwrap_or_default(),
        parent_span_id: payload.parent_span_id,
        project: source.name.to_owned(),
        release: release.map(str::to_owned),
        op: payload.op.unwrap_or_default(),
        description: payload.description,
        status: payload.status,
        start: payload.start_timestamp.or(end),
        end,
        profiled: Profiled::read(&data, root),
        data,
        links: shaped(payload.links, '[', "[]"),
        is_transaction,
        seq: source.seq,
    }
}

fn span_v2(source: Source<'_>, payload: SpanV2<'_>) -> Span {
    let (end, links) = (payload.end_timestamp.or(source.received_at), payload.links());
    let data = payload.attributes.flat();
    Span {
        span_id: payload.span_id.unwrap_or_default(),
        parent_span_id: payload.parent_span_id,
        project: source.name.to_owned(),
        release: payload.attributes.text("sentry.release"),
        op: payload.attributes.op(),
        description: payload.attributes.text("sentry.description").or(payload.name),
        status: payload.status,
        start: payload.start_timestamp.or(end),
        end,
        profiled: Profiled::read(&data, None),
        data,
        links: shaped(links, '[', "[]"),
        is_transaction: payload.is_segment,
        seq: source.seq,
    }
}

/// Returns the value if it has the expected shape, otherwise an empty one, so that clients need no special case.
fn shaped(value: Option<Box<RawValue>>, opening: char, empty: &str) -> Box<RawValue> {
    value
        .filter(|value| value.get().starts_with(opening))
        .or_else(|| RawValue::from_string(empty.to_owned()).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn child_span_of_another_trace_is_excluded() {
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

    #[test]
    fn child_has_the_profile_of_its_transaction() {
        let ids = |profile: serde_json::Value, data: serde_json::Value, children: serde_json::Value| {
            let trace = json!({"trace_id": "ab".repeat(16), "span_id": "root", "data": data});
            let contexts = json!({"trace": trace, "profile": profile});
            let transaction = json!({"contexts": contexts, "spans": children});
            let body = format!("{{}}\n{{\"type\":\"transaction\"}}\n{transaction}\n");
            let envelope = Envelope::parse(body.as_bytes()).expect("an envelope");
            let mut assembly = Assembly::new([0xab; 16], 1 << 20);
            assembly.add(Source { seq: 1, received_at: 1.0, project: 1, name: "game" }, &envelope);
            let spans = assembly.finish().expect("a trace").spans.into_iter();
            let named = spans.map(|span| span.profiled.map(|on| (on.profiler_id, on.thread_id)));
            named.collect::<Vec<_>>()
        };
        let on =
            |profiler: &str, thread: Option<&str>| Some((profiler.to_owned(), thread.map(str::to_owned)));
        let children = json!([{"span_id": "a"}, {"span_id": "b", "data": {"thread.id": 8}},
            {"span_id": "c", "data": {"sentry.profiler_id": "p2"}}, {"span_id": "d", "data": {"profiler_id": "P-1"}}]);
        let threaded = ids(json!({"profiler_id": "P-1"}), json!({"thread.id": "7"}), children.clone());
        let expected = [
            on("p1", Some("7")),
            on("p1", Some("7")),
            on("p1", Some("8")),
            on("p2", None),
            on("p1", Some("7")),
        ];
        assert_eq!(threaded, expected);
        assert_eq!(ids(json!({"profiler_id": "p1"}), json!({}), json!([])), [on("p1", None)]);
        let unnamed = ids(json!({}), json!({"thread.id": "7"}), children);
        assert_eq!(
            unnamed,
            [None, None, None, on("p2", None), on("p1", None)],
            "a thread alone names no process"
        );
    }
}
