//! Reads the entries of batch items: logs, metrics and streamed spans. An invalid entry does not hide the others.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::{
    event::LABEL_BYTES_MAX,
    fields::{self, Fields},
    strict::strict,
    timestamp::Timestamp,
};

/// Attributes with the span id of a log or metric that has no `span_id`, as older SDKs and the Rust SDK send it.
const SPAN_ATTRIBUTES: [&str; 2] = ["sentry.trace.parent_span_id", "parent_span_id"];

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

/// Attributes by name, with the JSON text of each value.
#[derive(Debug, Default)]
pub struct Attributes<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Attributes<'a> {
    /// Reads `{"name": {"value": …, "type": …}}` and skips attributes without a value.
    #[must_use]
    pub fn read(entry: &Fields<'a>) -> Self {
        let attributes = entry.object("attributes");
        let value = |value: &'a RawValue| Fields::of(Some(value)).get("value");
        Self(attributes.iter().filter_map(|(name, raw)| Some((name.to_owned(), value(raw)?))).collect())
    }

    /// Returns an attribute as text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).and_then(|value| fields::text(value))
    }

    /// Returns the names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns `{"name": value}` as JSON that every parser accepts.
    #[must_use]
    pub fn flat(&self) -> Box<RawValue> {
        strict(serde_json::value::to_raw_value(&self.0).unwrap_or_default())
    }
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
    /// `ok` or `error`.
    pub status: Option<String>,
    /// True for the root of a service's part of the trace.
    pub is_segment: bool,
    /// Start time.
    pub start_timestamp: Timestamp,
    /// End time.
    pub end_timestamp: Timestamp,
    /// Attributes, including `sentry.op`.
    pub attributes: Attributes<'a>,
    /// Links to other spans.
    pub links: Option<Box<RawValue>>,
}

impl<'a> SpanV2<'a> {
    /// Reads every valid field.
    #[must_use]
    pub fn read(fields: &Fields<'a>) -> Self {
        Self {
            trace_id: fields.text("trace_id"),
            span_id: fields.short("span_id", LABEL_BYTES_MAX),
            parent_span_id: fields.short("parent_span_id", LABEL_BYTES_MAX),
            name: fields.text("name"),
            status: fields.text("status"),
            is_segment: fields.boolean("is_segment").unwrap_or_default(),
            start_timestamp: fields.time("start_timestamp"),
            end_timestamp: fields.time("end_timestamp"),
            attributes: Attributes::read(fields),
            links: fields.raw("links"),
        }
    }
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
