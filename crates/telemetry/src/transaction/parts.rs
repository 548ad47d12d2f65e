//! Parts of a span that every form of it has, and how they are written. Every text of the application is scrubbed.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{Link, Status as OtelStatus};
use opentelemetry::{Array, KeyValue, Value};
use opentelemetry_sdk::trace::SpanData;
use serde::{Serialize, Serializer};

use crate::attributes as names;
use crate::scrub;
use crate::status::Status;

/// Longest description. Sentry would cut a longer one too, but only after it was sent.
const DESCRIPTION_BYTES_MAX: usize = 2_048;

/// Attributes that a span's fields are made of.
const STEERING: [&str; 6] = [
    names::SENTRY_OP,
    names::SENTRY_DESCRIPTION,
    names::SENTRY_STATUS,
    names::SENTRY_ORIGIN,
    names::SENTRY_SOURCE,
    names::SENTRY_PROFILER_ID,
];

/// The attributes that are sent, by their names on the wire. The last value of a name wins, [`STEERING`] names are left out, and
/// own names get their prefix.
pub(super) fn sent(attributes: &[KeyValue]) -> impl Iterator<Item = (Cow<'_, str>, Sent<'_>)> {
    attributes.iter().enumerate().filter_map(move |(index, attribute)| {
        let name = attribute.key.as_str();
        let is_overwritten = || attributes[index + 1..].iter().any(|later| later.key.as_str() == name);
        if STEERING.contains(&name) || is_overwritten() {
            return None;
        }
        let is_secret = scrub::is_secret_key(name) && !matches!(attribute.value, Value::Bool(_));
        let value = match name {
            _ if is_secret => Sent::Filtered,
            // It is an address, which could look like the number of a card
            names::THREAD_ID => Sent::Value(&attribute.value),
            _ => Sent::of(&attribute.value),
        };
        Some((names::wire::of_attribute(name), value))
    })
}

/// Value of an attribute. Texts are scrubbed while they are written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sent<'a> {
    /// A secret.
    Filtered,
    /// Any other value.
    Value(&'a Value),
}

impl<'a> Sent<'a> {
    fn of(value: &'a Value) -> Self {
        match value {
            Value::I64(number) if u64::try_from(*number).is_ok_and(scrub::is_card_number) => Self::Filtered,
            value => Self::Value(value),
        }
    }

    /// Name of its type, which accompanies the value in a streamed span.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Value(Value::Bool(_)) => "boolean",
            Self::Value(Value::I64(_)) => "integer",
            Self::Value(Value::F64(_)) => "double",
            Self::Value(Value::Array(Array::Bool(_) | Array::I64(_) | Array::F64(_) | Array::String(_))) => {
                "array"
            }
            Self::Filtered | Self::Value(_) => "string",
        }
    }
}

impl Serialize for Sent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = match self {
            Self::Filtered => return serializer.serialize_str(scrub::FILTERED),
            Self::Value(value) => *value,
        };
        match value {
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::I64(value) => serializer.serialize_i64(*value),
            Value::F64(value) => serializer.serialize_f64(*value),
            Value::String(value) => Text(value.as_str()).serialize(serializer),
            Value::Array(Array::Bool(values)) => serializer.collect_seq(values),
            Value::Array(Array::I64(values)) => serializer.collect_seq(values),
            Value::Array(Array::F64(values)) => serializer.collect_seq(values),
            Value::Array(Array::String(values)) => {
                serializer.collect_seq(values.iter().map(|value| Text(value.as_str())))
            }
            // The enums are not exhaustive, so a future variant is written as OpenTelemetry formats it
            other => Text(&other.as_str()).serialize(serializer),
        }
    }
}

/// Text that is scrubbed while it is written.
pub(super) struct Text<'a>(pub(super) &'a str);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&scrub::text(self.0))
    }
}

/// An id that is written as hex without an allocation.
pub(super) struct Hex<const N: usize>(pub(super) [u8; N]);

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0_u8; 32];
        for (index, byte) in self.0.iter().enumerate() {
            text[index * 2] = DIGITS[usize::from(byte >> 4)];
            text[index * 2 + 1] = DIGITS[usize::from(byte & 15)];
        }
        let text = text.get(..N * 2).and_then(|hex| std::str::from_utf8(hex).ok());
        serializer.serialize_str(text.unwrap_or_default())
    }
}

#[derive(Serialize)]
struct LinkOut<A> {
    trace_id: Hex<16>,
    span_id: Hex<8>,
    sampled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<A>,
}

/// Writes links. The forms differ in how attributes are written, so `attributes` says it.
pub(super) fn links<'a, A: Serialize, S: Serializer>(
    links: &'a [Link],
    attributes: impl Fn(&'a [KeyValue]) -> A,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(links.iter().map(|link| LinkOut {
        trace_id: Hex(link.span_context.trace_id().to_bytes()),
        span_id: Hex(link.span_context.span_id().to_bytes()),
        sampled: link.span_context.is_sampled(),
        attributes: (!link.attributes.is_empty()).then(|| attributes(&link.attributes)),
    }))
}

pub(super) fn attribute<'a>(span: &'a SpanData, name: &str) -> Option<&'a Value> {
    span.attributes
        .iter()
        .rev()
        .find(|attribute| attribute.key.as_str() == name)
        .map(|attribute| &attribute.value)
}

pub(crate) fn text_attribute<'a>(span: &'a SpanData, name: &str) -> Option<&'a str> {
    match attribute(span, name)? {
        Value::String(text) => Some(text.as_str()),
        _ => None,
    }
}

pub(crate) fn description(span: &SpanData) -> &str {
    let text = text_attribute(span, names::SENTRY_DESCRIPTION).unwrap_or(&span.name);
    let mut end = text.len().min(DESCRIPTION_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// The span's Sentry status if set, otherwise OpenTelemetry's status, otherwise from the HTTP status code, otherwise `ok`.
pub(crate) fn status(span: &SpanData) -> &'static str {
    if let Some(status) = text_attribute(span, names::SENTRY_STATUS).and_then(Status::from_name) {
        return status.as_str();
    }
    match (&span.status, attribute(span, names::HTTP_RESPONSE_STATUS_CODE)) {
        (OtelStatus::Error { description }, _) => {
            Status::from_name(description).unwrap_or(Status::UnknownError).as_str()
        }
        (OtelStatus::Unset, Some(Value::I64(code))) => {
            Status::from_http(u16::try_from(*code).unwrap_or_default()).as_str()
        }
        _ => Status::Ok.as_str(),
    }
}

pub(super) fn seconds(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}
