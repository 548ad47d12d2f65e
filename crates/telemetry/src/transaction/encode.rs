//! Encoder for Sentry transactions. It writes directly from the spans, without an intermediate tree, and scrubs every string.

use opentelemetry::KeyValue;
use opentelemetry::trace::{Link, SpanId};
use opentelemetry_sdk::trace::SpanData;
use serde::ser::{SerializeMap as _, SerializeSeq as _};
use serde::{Serialize, Serializer};

use super::Finished;
use super::item::OpenItem;
use super::parts::{self, Hex, Text, description, seconds, sent, status, text_attribute};
use crate::attributes as names;
use crate::config::About;
use crate::lifecycle::TraceLifecycle;
use crate::profiler::{CHUNK_PLATFORM, Chunk, ChunkDocument, Document};
use crate::sampling_context::SamplingContext;
use crate::scrub;

/// Room for the header of a transaction or a profile.
const ITEM_HEADER_BYTES: usize = 64;

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

/// Room for the header of a chunk, which also has its platform.
const CHUNK_HEADER_BYTES: usize = 96;

/// Writes an envelope with one chunk of a continuous profile to `out`. It belongs to no trace.
pub(crate) fn chunk(chunk: &Chunk, about: &About, out: &mut Vec<u8>) -> serde_json::Result<()> {
    let header = Header { event_id: "", sent_at: now_rfc3339(), sdk: SDK, trace: None };
    serde_json::to_writer(&mut *out, &header)?;
    out.push(b'\n');
    let item = OpenItem::begin(out, CHUNK_HEADER_BYTES);
    serde_json::to_writer(&mut *out, &ChunkDocument::of(chunk, about))?;
    item.end(out, |length| {
        format!(r#"{{"type":"profile_chunk","platform":"{CHUNK_PLATFORM}","length":{length}}}"#)
    });
    Ok(())
}

/// Writes an item's header and its body.
fn item(kind: &str, body: &impl Serialize, out: &mut Vec<u8>) -> serde_json::Result<()> {
    let item = OpenItem::begin(out, ITEM_HEADER_BYTES);
    serde_json::to_writer(&mut *out, body)?;
    item.end(out, |length| format!(r#"{{"type":"{kind}","length":{length}}}"#));
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
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
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

/// The links from a transaction to its profile, and to the continuous profile that ran when it began.
#[derive(Serialize)]
struct ProfileContext<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    profile_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profiler_id: Option<&'a str>,
}

impl<'a> ProfileContext<'a> {
    fn of(finished: &'a Finished) -> Option<Self> {
        let profile_id = finished.profile.as_deref().map(|profile| profile.id());
        let profiler_id = text_attribute(&finished.root, names::SENTRY_PROFILER_ID);
        (profile_id.is_some() || profiler_id.is_some()).then_some(Self { profile_id, profiler_id })
    }
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
            contexts: Contexts { trace: Trace::of(root, false), profile: ProfileContext::of(finished) },
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

/// Attributes as an object.
struct Data<'a> {
    attributes: &'a [KeyValue],
    /// True for spans, which have a trace lifecycle, and false for links.
    is_span: bool,
}

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut data = serializer.serialize_map(None)?;
        if self.is_span {
            data.serialize_entry(names::SENTRY_TRACE_LIFECYCLE, TraceLifecycle::Static.as_str())?;
        }
        for (name, value) in sent(self.attributes) {
            data.serialize_entry(&name, &value)?;
        }
        data.end()
    }
}

fn links<S: Serializer>(links: &&[Link], serializer: S) -> Result<S::Ok, S::Error> {
    parts::links(links, |attributes| Data { attributes, is_span: false }, serializer)
}
