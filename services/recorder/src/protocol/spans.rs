//! Spans of an envelope as Sentry stores them: each transaction becomes its segment span and its children.
//!
//! Sentry's ingestion makes a span of the transaction itself. Its attributes are `contexts.trace.data` and its description is the
//! transaction's name. What a dashboard calls `trace.status` and `transaction` are the status and the name of the segment. The spans
//! of a streamed segment find it by its id, as far as it is in the same item.

use std::collections::HashMap;

use super::{
    envelope::Envelope,
    event::{LABEL_BYTES_MAX, Transaction},
    fields::{self, Fields},
    signals::{self, Attributes},
};

/// Item types with spans.
pub const SPAN_TYPES: [&str; 2] = ["transaction", "span"];

/// Largest number of segments of one item whose children find them. Sentry takes at most this many spans in an item.
const SEGMENTS_MAX: usize = 1_000;

/// Facts of a segment that dashboards show for each of its spans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Name of the transaction.
    pub name: Option<String>,
    /// Status of the transaction. `None` when it was not sent, and for a streamed span whose segment is not in its item.
    pub status: Option<String>,
}

impl Segment {
    /// Returns true when the status is `ok`. An unknown status is not.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.status.as_deref() == Some("ok")
    }
}

/// One span, which reads the rest of its members when asked.
#[derive(Debug)]
pub struct StoredSpan<'s, 'a> {
    /// Kind of work, such as `db` or `queue.publish`. Empty when it was not sent with a transaction.
    pub op: String,
    /// Start, in seconds since the epoch.
    pub start: f64,
    /// End, in seconds since the epoch.
    pub end: f64,
    /// Segment that the span belongs to.
    pub segment: &'s Segment,
    form: Form,
    fields: &'s Fields<'a>,
}

/// Form in which a span was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The root of a transaction.
    Root,
    /// A span of a transaction, or a standalone span of the first version.
    Child,
    /// A span of the second version.
    Streamed,
}

impl<'a> StoredSpan<'_, 'a> {
    /// Returns the duration in milliseconds. A span that ends before its start has none.
    #[must_use]
    pub fn duration_ms(&self) -> f64 {
        ((self.end - self.start) * 1000.0).max(0.0)
    }

    /// Returns the trace that the span belongs to.
    #[must_use]
    pub fn trace_id(&self) -> Option<String> {
        self.fields.short("trace_id", LABEL_BYTES_MAX)
    }

    /// Returns the description of the work. A streamed span has an attribute with it if it is not its name.
    #[must_use]
    pub fn description(&self) -> Option<String> {
        match self.form {
            Form::Root => self.segment.name.clone(),
            Form::Child => self.fields.text("description"),
            Form::Streamed => {
                let described = Attributes::read(self.fields).text("sentry.description");
                described.or_else(|| self.fields.text("name"))
            }
        }
    }

    /// Reads the attributes.
    #[must_use]
    pub fn attributes(&self) -> SpanAttributes<'a> {
        match self.form {
            Form::Root | Form::Child => SpanAttributes::Plain(self.fields.object("data")),
            Form::Streamed => SpanAttributes::Typed(Attributes::read(self.fields)),
        }
    }
}

/// Attributes of a span, plain or with a type beside each value.
#[derive(Debug)]
pub enum SpanAttributes<'a> {
    /// `{"name": value}`.
    Plain(Fields<'a>),
    /// `{"name": {"value": value, "type": …}}`.
    Typed(Attributes<'a>),
}

impl SpanAttributes<'_> {
    /// Returns an attribute as text, cut to the length of a label.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        let text = match self {
            Self::Plain(fields) => fields.text(name),
            Self::Typed(attributes) => attributes.text(name),
        };
        text.map(|text| fields::cut(text, LABEL_BYTES_MAX))
    }

    /// Returns the first of these attributes that is present, as text.
    #[must_use]
    pub fn first_text(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.text(name))
    }

    /// Returns an attribute as a finite number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<f64> {
        self.text(name)?.parse().ok().filter(|number: &f64| number.is_finite())
    }

    /// Returns an attribute as a whole number.
    #[must_use]
    pub fn whole(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }

    /// Calls `each` with every name.
    pub fn each_name(&self, mut each: impl FnMut(&str)) {
        match self {
            Self::Plain(fields) => fields.iter().for_each(|(name, _)| each(name)),
            Self::Typed(attributes) => attributes.names().for_each(each),
        }
    }
}

/// Calls `each` with every span of an envelope.
pub fn each_span(envelope: &Envelope<'_>, received_at: f64, mut each: impl FnMut(&StoredSpan<'_, '_>)) {
    for item in &envelope.items {
        let item_type = item.item_type();
        if !SPAN_TYPES.contains(&item_type.as_ref()) {
            continue;
        }
        let Some(json) = item.json() else { continue };
        if item_type == "transaction" {
            transaction(json, received_at, &mut each);
        } else {
            span_item(json, received_at, &mut each);
        }
    }
}

/// Calls `each` with every segment of an envelope: the root of each transaction, and each streamed span that is one.
///
/// The spans below them, which are most of the bytes, are skipped and not read.
pub fn each_segment(envelope: &Envelope<'_>, received_at: f64, mut each: impl FnMut(&StoredSpan<'_, '_>)) {
    for item in &envelope.items {
        let item_type = item.item_type();
        if !SPAN_TYPES.contains(&item_type.as_ref()) {
            continue;
        }
        let Some(json) = item.json() else { continue };
        if item_type == "transaction" {
            let parsed = Transaction::parse(json);
            root(&parsed, &Segment::of_transaction(&parsed), received_at, &mut each);
            continue;
        }
        signals::each_entry(json, |fields| {
            if fields.boolean("is_segment") == Some(true) {
                let attributes = Attributes::read(&fields);
                let segment = Segment::streamed(&fields, &attributes);
                streamed(&fields, &attributes, &segment, received_at, &mut each);
            }
        });
    }
}

fn transaction(json: &str, received_at: f64, each: &mut impl FnMut(&StoredSpan<'_, '_>)) {
    let parsed = Transaction::parse(json);
    let segment = Segment::of_transaction(&parsed);
    root(&parsed, &segment, received_at, each);
    let Some(children) = parsed.spans else { return };
    fields::each_object(children.get(), |child| one(&child, Form::Child, &segment, received_at, each));
}

fn root(
    parsed: &Transaction<'_>,
    segment: &Segment,
    received_at: f64,
    each: &mut impl FnMut(&StoredSpan<'_, '_>),
) {
    let end = parsed.timestamp.or(received_at);
    each(&StoredSpan {
        op: parsed.trace.text("op").unwrap_or_default(),
        start: parsed.start_timestamp.or(end),
        end,
        segment,
        form: Form::Root,
        fields: &parsed.trace,
    });
}

fn span_item(json: &str, received_at: f64, each: &mut impl FnMut(&StoredSpan<'_, '_>)) {
    let segments = segments(json);
    let is_batch = signals::each_entry(json, |fields| {
        let attributes = Attributes::read(&fields);
        let elsewhere;
        let segment = match segment_of(&fields, &attributes, &segments) {
            Some(segment) => segment,
            None => {
                elsewhere = Segment::elsewhere(&fields, &attributes);
                &elsewhere
            }
        };
        streamed(&fields, &attributes, segment, received_at, each);
    });
    if !is_batch {
        one(&Fields::parse(json), Form::Child, &Segment::default(), received_at, each);
    }
}

fn streamed(
    fields: &Fields<'_>,
    attributes: &Attributes<'_>,
    segment: &Segment,
    received_at: f64,
    each: &mut impl FnMut(&StoredSpan<'_, '_>),
) {
    let end = fields.time("end_timestamp").or(received_at);
    each(&StoredSpan {
        op: attributes.op(),
        start: fields.time("start_timestamp").or(end),
        end,
        segment,
        form: Form::Streamed,
        fields,
    });
}

/// Returns the segments of an item by their span id.
fn segments(json: &str) -> HashMap<String, Segment> {
    let mut segments = HashMap::new();
    signals::each_entry(json, |fields| {
        let attributes = Attributes::read(&fields);
        if fields.boolean("is_segment") == Some(true)
            && segments.len() < SEGMENTS_MAX
            && let Some(id) = signals::segment_id(&fields, &attributes)
        {
            segments.insert(id, Segment::streamed(&fields, &attributes));
        }
    });
    segments
}

fn segment_of<'s>(
    fields: &Fields<'_>,
    attributes: &Attributes<'_>,
    segments: &'s HashMap<String, Segment>,
) -> Option<&'s Segment> {
    segments.get(&signals::segment_id(fields, attributes)?)
}

impl Segment {
    fn of_transaction(parsed: &Transaction<'_>) -> Self {
        let name = parsed.transaction.clone().map(|name| fields::cut(name, LABEL_BYTES_MAX));
        Self { name, status: parsed.trace.text("status") }
    }

    fn streamed(fields: &Fields<'_>, attributes: &Attributes<'_>) -> Self {
        let name = fields.short("name", LABEL_BYTES_MAX);
        Self { name, status: signals::streamed_status(fields, attributes) }
    }

    /// What a span says about a segment that is not among those of its item.
    fn elsewhere(fields: &Fields<'_>, attributes: &Attributes<'_>) -> Self {
        if fields.boolean("is_segment") == Some(true) {
            return Self::streamed(fields, attributes);
        }
        let name = attributes.text("sentry.segment.name").map(|name| fields::cut(name, LABEL_BYTES_MAX));
        Self { name, status: None }
    }
}

fn one(
    fields: &Fields<'_>,
    form: Form,
    segment: &Segment,
    received_at: f64,
    each: &mut impl FnMut(&StoredSpan<'_, '_>),
) {
    let end = fields.time("timestamp").or(received_at);
    each(&StoredSpan {
        op: fields.text("op").unwrap_or_default(),
        start: fields.time("start_timestamp").or(end),
        end,
        segment,
        form,
        fields,
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spans(
        item_type: &str,
        payload: &serde_json::Value,
    ) -> Vec<(String, Option<String>, bool, Option<f64>)> {
        let body = format!("{{}}\n{{\"type\":\"{item_type}\"}}\n{payload}\n");
        let envelope = Envelope::parse(body.as_bytes()).expect("an envelope");
        let mut found = Vec::new();
        each_span(&envelope, 9.0, |span| {
            let row =
                (span.op.clone(), span.description(), span.segment.is_ok(), span.attributes().number("n"));
            found.push(row);
        });
        found
    }

    #[test]
    fn transaction_is_a_span_with_its_own_data() {
        let transaction = json!({
            "transaction": "bets", "start_timestamp": 1.0, "timestamp": 2.0,
            "contexts": {"trace": {"op": "queue.process", "status": "ok", "data": {"n": 1}}},
            "spans": [{"op": "db", "description": "find", "status": "internal_error", "data": {"n": "2"}}],
        });
        assert_eq!(
            spans("transaction", &transaction),
            [
                ("queue.process".to_owned(), Some("bets".to_owned()), true, Some(1.0)),
                ("db".to_owned(), Some("find".to_owned()), true, Some(2.0)),
            ],
            "a child has the status of its segment"
        );
    }

    #[test]
    fn child_without_its_streamed_segment_has_no_status() {
        let attribute =
            |name: &str, value: serde_json::Value| json!({name: {"value": value, "type": "string"}});
        let streamed = json!({"items": [
            {"name": "bets", "is_segment": true, "status": "ok", "attributes": attribute("n", json!(3))},
            {"name": "find", "is_segment": false, "status": "ok", "attributes": attribute("sentry.op", json!("db"))},
        ]});
        assert_eq!(
            spans("span", &streamed),
            [
                ("default".to_owned(), Some("bets".to_owned()), true, Some(3.0)),
                ("db".to_owned(), Some("find".to_owned()), false, None),
            ]
        );
        let standalone = spans("span", &json!({"op": "db", "description": "x", "status": "ok"}));
        assert_eq!(standalone, [("db".to_owned(), Some("x".to_owned()), false, None)]);
        assert!(spans("log", &json!({"items": []})).is_empty());
    }

    #[test]
    fn segments_are_found_without_the_spans_below_them() {
        let typed = |value: &str| json!({"value": value, "type": "string"});
        let transaction = json!({"transaction": "bets", "start_timestamp": 1.0, "timestamp": 2.0,
            "contexts": {"trace": {"op": "queue.process", "status": "unavailable", "trace_id": "ab"}},
            "spans": [{"op": "db", "description": "find"}]});
        let batch = json!({"items": [
            {"name": "find", "is_segment": false, "status": "ok", "attributes": {"sentry.op": typed("db")}},
            {"name": "bets", "is_segment": true, "status": "ok", "start_timestamp": 1.0, "end_timestamp": 3.0,
                "trace_id": "cd", "attributes": {"sentry.op": typed("http.server")}},
        ]});
        let body = format!(
            "{{}}\n{{\"type\":\"transaction\"}}\n{transaction}\n{{\"type\":\"span\"}}\n{batch}\n\
             {{\"type\":\"span\"}}\n{{\"op\":\"db\"}}\n{{\"type\":\"log\"}}\n{{}}\n"
        );
        let envelope = Envelope::parse(body.as_bytes()).expect("an envelope");
        let mut found = Vec::new();
        each_segment(&envelope, 9.0, |span| {
            let status = span.segment.status.clone().unwrap_or_default();
            found.push((span.op.clone(), status, span.trace_id().unwrap_or_default(), span.duration_ms()));
        });
        let of = |op: &str, status: &str, trace_id: &str, ms: f64| {
            (op.to_owned(), status.to_owned(), trace_id.to_owned(), ms)
        };
        assert_eq!(
            found,
            [of("queue.process", "unavailable", "ab", 1_000.0), of("http.server", "ok", "cd", 2_000.0)]
        );
    }

    #[test]
    fn description_of_a_streamed_span_is_the_one_in_its_trace() {
        let typed = |value: &str| json!({"value": value, "type": "string"});
        let streamed = json!({"items": [
            {"name": "find bets", "attributes": {"sentry.op": typed("db"), "sentry.description": typed("{\"find\":\"bets\"}")}},
            {"name": "ping", "attributes": {"sentry.op": typed("db")}},
        ]});
        let descriptions: Vec<_> =
            spans("span", &streamed).into_iter().map(|(_, description, ..)| description).collect();
        assert_eq!(descriptions, [Some("{\"find\":\"bets\"}".to_owned()), Some("ping".to_owned())]);
    }

    #[test]
    fn child_of_a_streamed_segment_has_its_name_and_status() {
        let typed = |value: &str| json!({"value": value, "type": "string"});
        let segment = |id: &str, name: &str, reason: &str| {
            json!({"span_id": id, "name": name, "is_segment": true, "status": if reason == "ok" { "ok" } else { "error" },
                "attributes": {"sentry.op": typed("queue.process"), "sentry.status.message": typed(reason)}})
        };
        let child = |id: &str| {
            json!({"name": "find", "is_segment": false, "status": "ok",
                "attributes": {"sentry.op": typed("db"), "sentry.segment.id": typed(id), "sentry.segment.name": typed("named")}})
        };
        // Other SDKs send children first.
        let streamed = json!({"items": [child("bb"), segment("aa", "bets", "ok"), child("aa"),
            segment("bb", "payments", "unavailable"), child("cc")]});
        let body = format!("{{}}\n{{\"type\":\"span\"}}\n{streamed}\n");
        let envelope = Envelope::parse(body.as_bytes()).expect("an envelope");
        let mut found = Vec::new();
        each_span(&envelope, 9.0, |span| {
            let Segment { name, status } = span.segment.clone();
            found.push((name.unwrap_or_default(), status.unwrap_or_default()));
        });
        let of = |name: &str, status: &str| (name.to_owned(), status.to_owned());
        let (bets, payments) = (of("bets", "ok"), of("payments", "unavailable"));
        assert_eq!(found, [payments.clone(), bets.clone(), bets, payments, of("named", "")]);
    }
}
