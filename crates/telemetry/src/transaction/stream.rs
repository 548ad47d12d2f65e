//! Encoder for streamed spans: items `span` of the second version of Sentry's format.
//!
//! A streamed span says by itself what a transaction says once for all its spans: its release, its environment, its segment. Its
//! status is only `ok` or `error`, so the name of another status is in an attribute. An envelope has the sampling context of one
//! trace, so it has spans of one trace only.

use std::borrow::Cow;

use opentelemetry::KeyValue;
use opentelemetry::trace::{Link, SpanId};
use opentelemetry_sdk::trace::SpanData;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::Finished;
use super::encode::{Header, SDK, now_rfc3339};
use super::item::OpenItem;
use super::parts::{self, Hex, attribute, description, seconds, sent, status, text_attribute};
use crate::attributes as names;
use crate::config::About;
use crate::lifecycle::TraceLifecycle;
use crate::sampling_context::SamplingContext;
use crate::scrub;
use crate::status::Status;

/// Sentry's own limit. It drops an envelope with more spans.
const SPANS_PER_ENVELOPE_MAX: u64 = 1_000;
/// Size from which on an envelope gets no further span. Sentry's limit of a transaction is as large.
const BYTES_ENOUGH: usize = 1_024 * 1_024;
/// Room for the header of the item, which also has the number of its spans.
const ITEM_HEADER_BYTES: usize = 128;

const ENVIRONMENT: &str = "sentry.environment";
const PLATFORM: &str = "sentry.platform";
const QUERY: &str = "db.query.text";
const RELEASE: &str = "sentry.release";
const SDK_NAME: &str = "sentry.sdk.name";
const SDK_VERSION: &str = "sentry.sdk.version";
const SEGMENT_ID: &str = "sentry.segment.id";
const SEGMENT_NAME: &str = "sentry.segment.name";
const SEGMENT_NAME_SOURCE: &str = "sentry.segment.name.source";
const SERVER: &str = "server.address";
const STATUS_MESSAGE: &str = "sentry.status.message";

/// An envelope, and the number of its spans.
#[derive(Debug)]
pub(crate) struct Streamed {
    pub(crate) bytes: Vec<u8>,
    pub(crate) spans: u64,
}

/// Encodes segments of one trace, which all have this sampling context, into as few envelopes as the limits allow.
pub(crate) fn envelopes<'a>(
    segments: impl IntoIterator<Item = &'a Finished>,
    dsc: &SamplingContext,
    about: &About,
) -> serde_json::Result<Vec<Streamed>> {
    let mut envelopes = Vec::new();
    let mut open: Option<Container> = None;
    for finished in segments {
        let segment = Segment::of(finished, about);
        let children = finished.children.iter().map(|child| (child, false));
        for (span, is_segment) in std::iter::once((&finished.root, true)).chain(children) {
            let mut container = match open.take() {
                Some(container) => container,
                None => Container::begin(dsc)?,
            };
            container.add(&StreamedSpan::of(span, &segment, is_segment))?;
            if container.is_full() {
                envelopes.push(container.end());
            } else {
                open = Some(container);
            }
        }
    }
    envelopes.extend(open.map(Container::end));
    Ok(envelopes)
}

/// An envelope with one item, while spans are added to it.
struct Container {
    bytes: Vec<u8>,
    item: OpenItem,
    spans: u64,
}

impl Container {
    fn begin(dsc: &SamplingContext) -> serde_json::Result<Self> {
        let mut bytes = Vec::with_capacity(4_096);
        let header = Header { event_id: "", sent_at: now_rfc3339(), sdk: SDK, trace: Some(dsc) };
        serde_json::to_writer(&mut bytes, &header)?;
        bytes.push(b'\n');
        let item = OpenItem::begin(&mut bytes, ITEM_HEADER_BYTES);
        bytes.extend_from_slice(br#"{"items":["#);
        Ok(Self { bytes, item, spans: 0 })
    }

    fn add(&mut self, span: &StreamedSpan<'_>) -> serde_json::Result<()> {
        if self.spans > 0 {
            self.bytes.push(b',');
        }
        serde_json::to_writer(&mut self.bytes, span)?;
        self.spans += 1;
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.spans >= SPANS_PER_ENVELOPE_MAX || self.bytes.len() >= BYTES_ENOUGH
    }

    fn end(self) -> Streamed {
        let Self { mut bytes, item, spans } = self;
        bytes.extend_from_slice(b"]}");
        item.end(&mut bytes, |length| {
            format!(
                r#"{{"type":"span","item_count":{spans},"content_type":"application/vnd.sentry.items.span.v2+json","length":{length}}}"#
            )
        });
        Streamed { bytes, spans }
    }
}

/// What all spans of a segment say about it.
struct Segment<'a> {
    about: &'a About,
    id: String,
    /// Name of the segment, scrubbed.
    name: Cow<'a, str>,
    /// Id of the user, scrubbed.
    user: Option<Cow<'a, str>>,
}

impl<'a> Segment<'a> {
    fn of(finished: &'a Finished, about: &'a About) -> Self {
        let root = &finished.root;
        Self {
            about,
            id: root.span_context.span_id().to_string(),
            name: scrub::text(description(root)),
            user: text_attribute(root, names::USER_ID).map(scrub::text),
        }
    }
}

struct StreamedSpan<'a> {
    span: &'a SpanData,
    segment: &'a Segment<'a>,
    is_segment: bool,
    /// The description, scrubbed.
    name: Cow<'a, str>,
    status: &'static str,
}

impl<'a> StreamedSpan<'a> {
    fn of(span: &'a SpanData, segment: &'a Segment<'a>, is_segment: bool) -> Self {
        Self { span, segment, is_segment, name: scrub::text(description(span)), status: status(span) }
    }

    fn is_ok(&self) -> bool {
        self.status == Status::Ok.as_str()
    }

    /// The attributes that the protocol demands of every span, those that a transaction has outside of its data, and the text of
    /// a query, which Sentry shows as the description. An empty one is left out.
    fn of_protocol(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let text = |name| text_attribute(self.span, name);
        let for_segment = |value| self.is_segment.then_some(value);
        let op = text(names::SENTRY_OP).unwrap_or("default");
        let is_query = op == "db" || op.starts_with("db.");
        let about = self.segment.about;
        let all = [
            (names::SENTRY_TRACE_LIFECYCLE, Some(TraceLifecycle::Stream.as_str())),
            (names::SENTRY_OP, Some(op)),
            (names::SENTRY_ORIGIN, text(names::SENTRY_ORIGIN).or(Some("manual"))),
            (STATUS_MESSAGE, (!self.is_ok()).then_some(self.status)),
            (RELEASE, Some(about.release.as_str())),
            (ENVIRONMENT, Some(about.environment.as_str())),
            (SEGMENT_ID, Some(self.segment.id.as_str())),
            (SEGMENT_NAME, Some(self.segment.name.as_ref())),
            (SDK_NAME, Some(SDK.name)),
            (SDK_VERSION, Some(SDK.version)),
            (SEGMENT_NAME_SOURCE, for_segment(text(names::SENTRY_SOURCE).unwrap_or("custom"))),
            (PLATFORM, for_segment("native")),
            (names::SENTRY_PROFILER_ID, text(names::SENTRY_PROFILER_ID)),
            (SERVER, self.unless_own(SERVER, for_segment(about.service.as_str()))),
            (names::USER_ID, self.unless_own(names::USER_ID, self.segment.user.as_deref())),
            (QUERY, self.unless_own(QUERY, is_query.then_some(self.name.as_ref()))),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value.filter(|text| !text.is_empty())?)))
    }

    /// The value, unless the span has its own of that name.
    fn unless_own<'v>(&self, name: &str, value: Option<&'v str>) -> Option<&'v str> {
        value.filter(|_| attribute(self.span, name).is_none())
    }
}

impl Serialize for StreamedSpan<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let span = self.span;
        let mut out = serializer.serialize_map(None)?;
        out.serialize_entry("trace_id", &Hex(span.span_context.trace_id().to_bytes()))?;
        out.serialize_entry("span_id", &Hex(span.span_context.span_id().to_bytes()))?;
        if span.parent_span_id != SpanId::INVALID {
            out.serialize_entry("parent_span_id", &Hex(span.parent_span_id.to_bytes()))?;
        }
        out.serialize_entry("name", &self.name)?;
        out.serialize_entry("status", if self.is_ok() { "ok" } else { "error" })?;
        out.serialize_entry("is_segment", &self.is_segment)?;
        out.serialize_entry("start_timestamp", &seconds(span.start_time))?;
        out.serialize_entry("end_timestamp", &seconds(span.end_time))?;
        out.serialize_entry("attributes", &Attributes(self))?;
        if !span.links.links.is_empty() {
            out.serialize_entry("links", &Links(&span.links.links))?;
        }
        out.end()
    }
}

/// A value with the name of its type.
#[derive(Serialize)]
struct Typed<T> {
    #[serde(rename = "type")]
    kind: &'static str,
    value: T,
}

struct Attributes<'a>(&'a StreamedSpan<'a>);

impl Serialize for Attributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(None)?;
        for (name, value) in self.0.of_protocol() {
            out.serialize_entry(name, &Typed { kind: "string", value })?;
        }
        for (name, value) in sent(&self.0.span.attributes) {
            out.serialize_entry(&name, &Typed { kind: value.kind(), value })?;
        }
        out.end()
    }
}

struct Links<'a>(&'a [Link]);

impl Serialize for Links<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        parts::links(self.0, LinkAttributes, serializer)
    }
}

struct LinkAttributes<'a>(&'a [KeyValue]);

impl Serialize for LinkAttributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(None)?;
        for (name, value) in sent(self.0) {
            out.serialize_entry(&name, &Typed { kind: value.kind(), value })?;
        }
        out.end()
    }
}
