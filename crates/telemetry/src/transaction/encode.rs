//! Encoder for Sentry transactions. It writes directly from the spans, without an intermediate tree, and scrubs every string.

use std::time::{Duration, SystemTime};

use opentelemetry::trace::{Link, SpanId, Status as OtelStatus};
use opentelemetry::{Array, KeyValue, Value};
use opentelemetry_sdk::trace::SpanData;
use serde::ser::{SerializeMap as _, SerializeSeq as _};
use serde::{Serialize, Serializer};

use super::Finished;
use crate::attributes as names;
use crate::config::About;
use crate::profiler::Document;
use crate::sampling_context::SamplingContext;
use crate::scrub;
use crate::status::Status;

/// Longest description. Sentry would cut a longer one too, but only after it was sent.
const DESCRIPTION_BYTES_MAX: usize = 2_048;

/// Writes an envelope to `out`: its header, the transaction, and the transaction's profile if there is one.
pub(crate) fn transaction(finished: &Finished, about: &About, out: &mut Vec<u8>) -> serde_json::Result<()> {
    let event_id = uuid::Uuid::new_v4().as_simple().to_string();
    let header = Header { event_id: &event_id, sent_at: now_rfc3339(), sdk: SDK, trace: Some(&finished.dsc) };
    serde_json::to_writer(&mut *out, &header)?;
    out.push(b'\n');
    item("transaction", &Transaction::of(finished, about, &event_id), out)?;
    let Some(profile) = finished.profile.as_deref() else { return Ok(()) };
    item("profile", &Document::of(profile, about, &event_id, trace_id(finished), name(finished)), out)
}

/// Writes an item's header and its body.
fn item(kind: &str, body: &impl Serialize, out: &mut Vec<u8>) -> serde_json::Result<()> {
    // The item's header contains the length, so space for it is reserved and the body is written first
    const ITEM_HEADER: usize = 64;
    let item_at = out.len();
    out.extend_from_slice(&[b' '; ITEM_HEADER]);
    let body_at = out.len();
    serde_json::to_writer(&mut *out, body)?;
    let length = out.len() - body_at;
    out.push(b'\n');
    // JSON may be followed by spaces, and the last byte of the space ends the line
    let header = format!(r#"{{"type":"{kind}","length":{length}}}"#);
    if let Some(room) = out.get_mut(item_at..body_at) {
        room[..header.len()].copy_from_slice(header.as_bytes());
        room[ITEM_HEADER - 1] = b'\n';
    }
    Ok(())
}

fn trace_id(finished: &Finished) -> String {
    finished.root.span_context.trace_id().to_string()
}

/// The transaction's name, scrubbed.
fn name(finished: &Finished) -> String {
    scrub::text(description(&finished.root)).into_owned()
}

/// An envelope's header.
#[derive(Debug, Serialize)]
pub(crate) struct Header<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) event_id: &'a str,
    pub(crate) sent_at: String,
    pub(crate) sdk: Sdk,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace: Option<&'a SamplingContext>,
}

/// Name and version of the SDK.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Sdk {
    name: &'static str,
    version: &'static str,
}

pub(crate) const SDK: Sdk = Sdk { name: "sentry.rust.pitboss", version: env!("CARGO_PKG_VERSION") };

pub(crate) fn now_rfc3339() -> String {
    // Formatting a time of this century cannot fail
    time::OffsetDateTime::now_utc().format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}

#[derive(Serialize)]
struct Transaction<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    event_id: &'a str,
    platform: &'static str,
    start_timestamp: f64,
    timestamp: f64,
    transaction: Text<'a>,
    transaction_info: TransactionInfo<'a>,
    release: &'a str,
    environment: &'a str,
    server_name: &'a str,
    sdk: Sdk,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<User<'a>>,
    contexts: Contexts<'a>,
    spans: Spans<'a>,
}

#[derive(Serialize)]
struct TransactionInfo<'a> {
    source: &'a str,
}

#[derive(Serialize)]
struct User<'a> {
    id: Text<'a>,
}

#[derive(Serialize)]
struct Contexts<'a> {
    trace: Trace<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<ProfileContext<'a>>,
}

/// The link from a transaction to its profile.
#[derive(Serialize)]
struct ProfileContext<'a> {
    profile_id: &'a str,
}

/// The root as `contexts.trace`, or one entry of `spans`, which have the same fields.
#[derive(Serialize)]
struct Trace<'a> {
    trace_id: Hex<16>,
    span_id: Hex<8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<Hex<8>>,
    op: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<Text<'a>>,
    status: &'a str,
    origin: &'a str,
    data: Data<'a>,
    #[serde(skip_serializing_if = "<[Link]>::is_empty", serialize_with = "links")]
    links: &'a [Link],
    #[serde(skip_serializing_if = "Option::is_none")]
    start_timestamp: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<f64>,
}

impl<'a> Transaction<'a> {
    fn of(finished: &'a Finished, about: &'a About, event_id: &'a str) -> Self {
        let root = &finished.root;
        Self {
            kind: "transaction",
            event_id,
            platform: "native",
            start_timestamp: seconds(root.start_time),
            timestamp: seconds(root.end_time),
            transaction: Text(description(root)),
            transaction_info: TransactionInfo {
                source: text_attribute(root, names::SENTRY_SOURCE).unwrap_or("custom"),
            },
            release: &about.release,
            environment: &about.environment,
            server_name: &about.service,
            sdk: SDK,
            user: text_attribute(root, names::USER_ID).map(|id| User { id: Text(id) }),
            contexts: Contexts {
                trace: Trace::of(root, false),
                profile: finished
                    .profile
                    .as_deref()
                    .map(|profile| ProfileContext { profile_id: profile.id() }),
            },
            spans: Spans(&finished.children),
        }
    }
}

impl<'a> Trace<'a> {
    fn of(span: &'a SpanData, is_child: bool) -> Self {
        let parent = (span.parent_span_id != SpanId::INVALID).then(|| Hex(span.parent_span_id.to_bytes()));
        Self {
            trace_id: Hex(span.span_context.trace_id().to_bytes()),
            span_id: Hex(span.span_context.span_id().to_bytes()),
            parent_span_id: parent,
            op: text_attribute(span, names::SENTRY_OP).unwrap_or("default"),
            description: is_child.then(|| Text(description(span))),
            status: status(span),
            origin: text_attribute(span, names::SENTRY_ORIGIN).unwrap_or("manual"),
            data: Data { attributes: &span.attributes, is_span: true },
            links: &span.links.links,
            start_timestamp: is_child.then(|| seconds(span.start_time)),
            timestamp: is_child.then(|| seconds(span.end_time)),
        }
    }
}

struct Spans<'a>(&'a [SpanData]);

impl Serialize for Spans<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut spans = serializer.serialize_seq(Some(self.0.len()))?;
        for span in self.0 {
            spans.serialize_element(&Trace::of(span, true))?;
        }
        spans.end()
    }
}

/// Attributes as an object. The last value of a name wins, [`STEERING`] names are left out, and own names get their prefix.
struct Data<'a> {
    attributes: &'a [KeyValue],
    /// True for spans, which have a trace lifecycle, and false for links.
    is_span: bool,
}

const STEERING: [&str; 5] = [
    names::SENTRY_OP,
    names::SENTRY_DESCRIPTION,
    names::SENTRY_STATUS,
    names::SENTRY_ORIGIN,
    names::SENTRY_SOURCE,
];

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut data = serializer.serialize_map(None)?;
        if self.is_span {
            data.serialize_entry(names::SENTRY_TRACE_LIFECYCLE, "static")?;
        }
        for (index, attribute) in self.attributes.iter().enumerate() {
            let name = attribute.key.as_str();
            let is_overwritten =
                || self.attributes[index + 1..].iter().any(|later| later.key.as_str() == name);
            if STEERING.contains(&name) || is_overwritten() {
                continue;
            }
            let wire_name = names::wire::of_attribute(name);
            if scrub::is_secret_key(name) && !matches!(attribute.value, Value::Bool(_)) {
                data.serialize_entry(&wire_name, scrub::FILTERED)?;
            } else {
                data.serialize_entry(&wire_name, &AttributeValue(&attribute.value))?;
            }
        }
        data.end()
    }
}

struct AttributeValue<'a>(&'a Value);

impl Serialize for AttributeValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::I64(value) if u64::try_from(*value).is_ok_and(scrub::is_card_number) => {
                serializer.serialize_str(scrub::FILTERED)
            }
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
struct Text<'a>(&'a str);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&scrub::text(self.0))
    }
}

/// An id that is written as hex without an allocation.
struct Hex<const N: usize>([u8; N]);

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
struct LinkOut<'a> {
    trace_id: Hex<16>,
    span_id: Hex<8>,
    sampled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<Data<'a>>,
}

fn links<S: Serializer>(links: &&[Link], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(links.iter().map(|link| LinkOut {
        trace_id: Hex(link.span_context.trace_id().to_bytes()),
        span_id: Hex(link.span_context.span_id().to_bytes()),
        sampled: link.span_context.is_sampled(),
        attributes:
            (!link.attributes.is_empty()).then_some(Data { attributes: &link.attributes, is_span: false }),
    }))
}

fn attribute<'a>(span: &'a SpanData, name: &str) -> Option<&'a Value> {
    span.attributes
        .iter()
        .rev()
        .find(|attribute| attribute.key.as_str() == name)
        .map(|attribute| &attribute.value)
}

fn text_attribute<'a>(span: &'a SpanData, name: &str) -> Option<&'a str> {
    match attribute(span, name)? {
        Value::String(text) => Some(text.as_str()),
        _ => None,
    }
}

fn description(span: &SpanData) -> &str {
    let text = text_attribute(span, names::SENTRY_DESCRIPTION).unwrap_or(&span.name);
    let mut end = text.len().min(DESCRIPTION_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// The span's Sentry status if set, otherwise OpenTelemetry's status, otherwise from the HTTP status code, otherwise `ok`.
fn status(span: &SpanData) -> &'static str {
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

fn seconds(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}
