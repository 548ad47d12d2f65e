//! Reads the entries of batch items: logs, metrics and streamed spans. An invalid entry does not hide the others.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use telemetry::Status;

use super::{
    derived_op::{DEFAULT_OP, derived_op},
    event::LABEL_BYTES_MAX,
    fields::{self, Fields},
    strict::strict,
    timestamp::Timestamp,
};

/// Attributes with the span id of a log or metric that has no `span_id`, as older SDKs and the Rust SDK send it.
const SPAN_ATTRIBUTES: [&str; 2] = ["sentry.trace.parent_span_id", "parent_span_id"];

/// Attribute with the reason of a failed span of the second version, whose own status is only `ok` or `error`.
const STATUS_MESSAGE: &str = "sentry.status.message";
/// Attributes with the id of the segment that a span belongs to, as the protocol has it and as older SDKs send it.
const SEGMENT_ATTRIBUTES: [&str; 2] = ["sentry.segment.id", "sentry.segment_id"];

/// Calls `each` with every object in a batch item, `{"items": […]}`. Returns false when there is none.
pub fn each_entry<'a>(json: &'a str, mut each: impl FnMut(Fields<'a>)) -> bool {
    let mut found = false;
    if let Some(items) = Fields::parse(json).get("items") {
        fields::each_object(items.get(), |entry| {
            found = true;
            each(entry);
        });
    }
    found
}

/// Attributes, `{"name": {"value": …, "type": …}}`. Each is read when it is asked for, because most are only passed on.
#[derive(Debug, Default)]
pub struct Attributes<'a>(Fields<'a>);

impl<'a> Attributes<'a> {
    /// Reads the names. Attributes without a value do not count.
    #[must_use]
    pub fn read(entry: &Fields<'a>) -> Self {
        Self(entry.object("attributes"))
    }

    /// Returns an attribute as text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).and_then(value).and_then(fields::text)
    }

    /// Returns the op of a streamed span. Sentry derives it if it was not sent.
    #[must_use]
    pub fn op(&self) -> String {
        let derived = || {
            let kind = self.text("sentry.kind");
            let by_names = derived_op(kind.as_deref(), |name| self.0.get(name).and_then(value).is_some());
            by_names.map(str::to_owned).or_else(|| self.text("faas.trigger"))
        };
        self.text("sentry.op").or_else(derived).unwrap_or_else(|| DEFAULT_OP.to_owned())
    }

    /// Returns the names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values().map(|(name, _)| name)
    }

    /// Returns `{"name": value}` as JSON that every parser accepts.
    #[must_use]
    pub fn flat(&self) -> Box<RawValue> {
        let flat: BTreeMap<&str, &RawValue> = self.values().collect();
        strict(serde_json::value::to_raw_value(&flat).unwrap_or_default())
    }

    fn values(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().filter_map(|(name, attribute)| Some((name, value(attribute)?)))
    }
}

fn value(attribute: &RawValue) -> Option<&RawValue> {
    Fields::of(Some(attribute)).get("value")
}

/// Fields that a log and a metric have in common.
#[derive(Debug, Default)]
pub struct Entry<'a> {
    /// Time of writing or measuring.
    pub timestamp: Timestamp,
    /// Trace that the entry belongs to.
    pub trace_id: Option<String>,
    /// Span that the entry belongs to.
    pub span_id: Option<String>,
    /// Attributes of the entry.
    pub attributes: Attributes<'a>,
}

impl<'a> Entry<'a> {
    /// Reads every valid field.
    #[must_use]
    pub fn read(fields: &Fields<'a>) -> Self {
        let attributes = Attributes::read(fields);
        let span = fields.short("span_id", LABEL_BYTES_MAX);
        Self {
            timestamp: fields.time("timestamp"),
            trace_id: fields.text("trace_id"),
            span_id: span.or_else(|| SPAN_ATTRIBUTES.into_iter().find_map(|name| attributes.text(name))),
            attributes,
        }
    }
}

/// One entry of a `span` item of the second version.
#[derive(Debug, Default)]
pub struct SpanV2<'a> {
    /// Trace that the span belongs to.
    pub trace_id: Option<String>,
    /// Id of the span.
    pub span_id: Option<String>,
    /// Id of the parent span.
    pub parent_span_id: Option<String>,
    /// Name of the span.
    pub name: Option<String>,
    /// `ok`, or the reason of a failure ([`streamed_status`]).
    pub status: Option<String>,
    /// True for the root of a service's part of the trace.
    pub is_segment: bool,
    /// Segment that the span belongs to, which may be the span itself.
    pub segment_id: Option<String>,
    /// Start time.
    pub start_timestamp: Timestamp,
    /// End time.
    pub end_timestamp: Timestamp,
    /// Attributes, including `sentry.op`.
    pub attributes: Attributes<'a>,
    links: Option<&'a RawValue>,
}

impl<'a> SpanV2<'a> {
    /// Reads every valid field.
    #[must_use]
    pub fn read(fields: &Fields<'a>) -> Self {
        let attributes = Attributes::read(fields);
        Self {
            trace_id: fields.text("trace_id"),
            span_id: fields.short("span_id", LABEL_BYTES_MAX),
            parent_span_id: fields.short("parent_span_id", LABEL_BYTES_MAX),
            name: fields.text("name"),
            status: streamed_status(fields, &attributes),
            is_segment: fields.boolean("is_segment").unwrap_or_default(),
            segment_id: segment_id(fields, &attributes),
            start_timestamp: fields.time("start_timestamp"),
            end_timestamp: fields.time("end_timestamp"),
            links: fields.get("links"),
            attributes,
        }
    }

    /// Returns the links to other spans with plain attributes, like those of a span of a transaction.
    #[must_use]
    pub fn links(&self) -> Option<Box<RawValue>> {
        let mut links: Vec<BTreeMap<String, Box<RawValue>>> = Vec::new();
        fields::each_object(self.links?.get(), |link| {
            let mut members: BTreeMap<String, Box<RawValue>> =
                link.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            let attributes = Attributes::read(&link);
            if attributes.names().next().is_some() {
                members.insert("attributes".to_owned(), attributes.flat());
            }
            links.push(members);
        });
        serde_json::value::to_raw_value(&links).ok().map(strict)
    }
}

/// Returns the status of a span of the second version by the name that a span of a transaction would have.
///
/// SDKs put that name into an attribute. Any other text there is a message for people, and then the status is `error`.
#[must_use]
pub fn streamed_status(fields: &Fields<'_>, attributes: &Attributes<'_>) -> Option<String> {
    let status = fields.text("status")?;
    if status == Status::Ok.as_str() {
        return Some(status);
    }
    let reason = attributes.text(STATUS_MESSAGE).and_then(|name| Status::from_name(&name));
    match reason {
        None | Some(Status::Ok) => Some(status),
        Some(reason) => Some(reason.as_str().to_owned()),
    }
}

/// Returns the id of the segment that a span of the second version belongs to. A segment belongs to itself.
#[must_use]
pub fn segment_id(fields: &Fields<'_>, attributes: &Attributes<'_>) -> Option<String> {
    if fields.boolean("is_segment") == Some(true) {
        return fields.short("span_id", LABEL_BYTES_MAX);
    }
    let id = SEGMENT_ATTRIBUTES.into_iter().find_map(|name| attributes.text(name));
    id.map(|id| fields::cut(id, LABEL_BYTES_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn span_id_of_a_log_is_a_field_or_an_attribute() {
        let span = |entry: &str| Entry::read(&Fields::parse(entry)).span_id;
        let attribute =
            r#""attributes":{"broken":7,"sentry.trace.parent_span_id":{"value":"bb","type":"string"}}"#;
        assert_eq!(span(&format!(r#"{{"span_id":"aa",{attribute}}}"#)).as_deref(), Some("aa"));
        assert_eq!(span(&format!(r#"{{"span_id":null,{attribute}}}"#)).as_deref(), Some("bb"));
        assert_eq!(span(r#"{"attributes":{"parent_span_id":{"value":"cc"}}}"#).as_deref(), Some("cc"));
        assert_eq!(span(r#"{"attributes":[]}"#), None);
    }

    #[test]
    fn failed_span_has_the_reason_that_its_sdk_sent() {
        let status = |entry: &str| SpanV2::read(&Fields::parse(entry)).status;
        let with = |status: &str, reason: &str| {
            format!(
                r#"{{"status":"{status}","attributes":{{"sentry.status.message":{{"value":"{reason}"}}}}}}"#
            )
        };
        for (entry, expected) in [
            (with("error", "deadline_exceeded"), Some("deadline_exceeded")),
            (with("error", "connection refused"), Some("error")),
            (with("error", "ok"), Some("error")),
            (with("ok", "not_found"), Some("ok")),
            (r#"{"status":"error"}"#.to_owned(), Some("error")),
            ("{}".to_owned(), None),
        ] {
            assert_eq!(status(&entry).as_deref(), expected, "{entry}");
        }
    }

    #[test]
    fn op_of_a_streamed_span_is_derived_if_it_was_not_sent() {
        let op = |attributes: &[(&str, &str)]| {
            let attributes: serde_json::Map<_, _> = attributes
                .iter()
                .map(|(name, text)| {
                    ((*name).to_owned(), serde_json::json!({"value": text, "type": "string"}))
                })
                .collect();
            let entry = serde_json::json!({"attributes": attributes}).to_string();
            SpanV2::read(&Fields::parse(&entry)).attributes.op()
        };
        assert_eq!(op(&[]), "default");
        assert_eq!(op(&[("sentry.op", "task"), ("db.system.name", "redis")]), "task");
        assert_eq!(op(&[("db.system.name", "postgresql")]), "db");
        assert_eq!(op(&[("http.request.method", "GET"), ("sentry.kind", "server")]), "http.server");
        assert_eq!(op(&[("http.request.method", "GET")]), "http");
        assert_eq!(op(&[("messaging.system", "kafka")]), "message");
        assert_eq!(op(&[("faas.trigger", "timer")]), "timer");
    }

    #[test]
    fn span_belongs_to_its_segment() {
        let segment = |entry: &str| SpanV2::read(&Fields::parse(entry)).segment_id;
        assert_eq!(segment(r#"{"is_segment":true,"span_id":"aa"}"#).as_deref(), Some("aa"));
        for name in SEGMENT_ATTRIBUTES {
            let child = format!(r#"{{"span_id":"bb","attributes":{{"{name}":{{"value":"aa"}}}}}}"#);
            assert_eq!(segment(&child).as_deref(), Some("aa"), "{name}");
        }
        assert_eq!(segment(r#"{"is_segment":false,"span_id":"bb"}"#), None);
    }

    #[test]
    fn attributes_of_links_are_plain() {
        let links =
            |entry: &str| SpanV2::read(&Fields::parse(entry)).links().map(|links| links.get().to_owned());
        let typed = r#"{"links":[7,{"span_id":"aa","attributes":{"sentry.link.type":{"value":"message_origin","type":"string"}}},
            {"span_id":"bb","attributes":{"plain":"x"}}]}"#;
        assert_eq!(
            links(typed).as_deref(),
            Some(
                r#"[{"attributes":{"sentry.link.type":"message_origin"},"span_id":"aa"},{"attributes":{"plain":"x"},"span_id":"bb"}]"#
            )
        );
        assert_eq!(links("{}"), None);
    }

    #[test]
    fn invalid_entries_are_skipped() {
        let (mut bodies, mut entries) = (Vec::new(), 0);
        let batch = r#"{"version":2,"items":[null,7,"x",{"body":"a","attributes":null},{"body":"b","timestamp":{}}]}"#;
        assert!(each_entry(batch, |entry| {
            bodies.extend(entry.text("body"));
            entries += 1;
        }));
        assert_eq!((bodies, entries), (vec!["a".to_owned(), "b".to_owned()], 2), "a 7 is no entry");
        for nothing in [r#"{"items":null}"#, r#"{"items":{}}"#, "[]", "7", ""] {
            assert!(!each_entry(nothing, |_| panic!("no entry")), "{nothing}");
        }
    }
}
