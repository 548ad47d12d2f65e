//! What the index keeps of an envelope: little, and found in one pass.
//!
//! Promise: the digest is a function of the envelope's bytes alone, so an index that was lost is rebuilt from the
//! segments to the same rows.

use std::borrow::Cow;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    envelope::{Envelope, Item},
    event::{Batch, ErrorEvent, SpanPayload},
    grouping,
    timestamp::Timestamp,
};

/// Item types as bits, so that a listing by type skips what it need not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(pub u32);

/// Types with a bit of their own; everything else shares the last bit.
const KINDS: [&str; 16] = [
    "event",
    "transaction",
    "span",
    "log",
    "trace_metric",
    "check_in",
    "profile",
    "profile_chunk",
    "replay_event",
    "replay_recording",
    "client_report",
    "session",
    "sessions",
    "attachment",
    "feedback",
    "statsd",
];

impl Kinds {
    /// The bit of one item type.
    #[must_use]
    pub fn of(item_type: &str) -> Self {
        let position = KINDS.iter().position(|known| *known == item_type).unwrap_or(KINDS.len());
        Self(1 << position)
    }

    /// The bits of several.
    #[must_use]
    pub fn any_of(item_types: &[&str]) -> Self {
        Self(item_types.iter().fold(0, |bits, item_type| bits | Self::of(item_type).0))
    }
}

/// What a [`Part`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PartKind {
    /// A transaction item.
    Transaction = 1,
    /// An error event.
    Error = 2,
    /// Log entries of one trace.
    Log = 3,
    /// Metrics of one trace.
    Metric = 4,
    /// Standalone spans of one trace.
    Span = 5,
}

/// One item's share of one trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// What it is.
    pub kind: PartKind,
    /// The trace it belongs to.
    pub trace_id: [u8; 16],
    /// True where a trace begins.
    pub root: bool,
    /// True for a transaction whose status is neither `ok` nor absent.
    pub failed: bool,
    /// When it began.
    pub start: f64,
    /// When it ended.
    pub end: f64,
    /// Spans in it, the root span included.
    pub spans: u32,
    /// What a root is called: op and name.
    pub label: Option<String>,
}

/// One error event.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorRow {
    /// The issue it belongs to.
    pub issue: Uuid,
    /// When it happened.
    pub at: f64,
    /// Release it happened in.
    pub release: Option<String>,
    /// Who met it.
    pub user: Option<String>,
}

/// What a release is known by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReleaseRow {
    /// The release's version.
    pub release: String,
    /// Where it runs.
    pub environment: String,
    /// What it sent.
    pub sent: ReleaseSent,
}

/// What a release can send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReleaseSent {
    /// A transaction.
    Transaction,
    /// An error event.
    Error,
    /// A session or an aggregate of sessions.
    Session,
}

/// Everything the index keeps of one envelope.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Digest {
    /// Types of its items.
    pub kinds: Kinds,
    /// Shares of traces.
    pub parts: Vec<Part>,
    /// Error events.
    pub errors: Vec<ErrorRow>,
    /// Releases that it names.
    pub releases: Vec<ReleaseRow>,
}

/// Reads the digest of an envelope of this project.
#[must_use]
pub fn digest(project: u32, envelope: &Envelope<'_>) -> Digest {
    let mut digest = Digest::default();
    for item in &envelope.items {
        let item_type = item.item_type();
        digest.kinds.0 |= Kinds::of(&item_type).0;
        match item_type.as_ref() {
            "transaction" => transaction(item, &mut digest),
            "event" => error(project, item, &mut digest),
            "log" => batch(item, PartKind::Log, &mut digest),
            "trace_metric" => batch(item, PartKind::Metric, &mut digest),
            "span" => spans(item, &mut digest),
            "session" | "sessions" => session(item, &mut digest),
            _ => {}
        }
    }
    digest
}

/// Sixteen bytes of a trace id.
#[must_use]
pub fn trace_id(text: &str) -> Option<[u8; 16]> {
    Uuid::try_parse(text).ok().map(Uuid::into_bytes)
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct TransactionHead<'a> {
    #[serde(borrow)]
    transaction: Option<&'a RawValue>,
    start_timestamp: Timestamp,
    timestamp: Timestamp,
    #[serde(borrow)]
    release: Option<&'a RawValue>,
    #[serde(borrow)]
    environment: Option<&'a RawValue>,
    #[serde(borrow)]
    contexts: Option<&'a RawValue>,
    #[serde(borrow)]
    spans: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ContextsHead<'a> {
    #[serde(borrow)]
    trace: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct TraceHead<'a> {
    #[serde(borrow)]
    trace_id: Cow<'a, str>,
    #[serde(borrow, default)]
    parent_span_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    op: Option<&'a RawValue>,
    #[serde(borrow, default)]
    status: Option<&'a RawValue>,
}

fn transaction(item: &Item<'_>, digest: &mut Digest) {
    let Ok(head) = serde_json::from_slice::<TransactionHead<'_>>(item.payload) else { return };
    push_release(digest, as_text(head.release), as_text(head.environment), ReleaseSent::Transaction);
    let contexts = head.contexts.and_then(|raw| serde_json::from_str::<ContextsHead<'_>>(raw.get()).ok());
    let trace = contexts.and_then(|contexts| contexts.trace);
    let Some(trace) = trace.and_then(|raw| serde_json::from_str::<TraceHead<'_>>(raw.get()).ok()) else {
        return;
    };
    let Some(trace_id) = trace_id(&trace.trace_id) else { return };
    let root = as_text(trace.parent_span_id).is_none();
    let status = as_text(trace.status);
    let children = head
        .spans
        .and_then(|raw| serde_json::from_str::<Length>(raw.get()).ok())
        .map_or(0, |length| length.0);
    let label = root.then(|| {
        let op = as_text(trace.op).unwrap_or_default();
        format!("{op} {}", as_text(head.transaction).unwrap_or_default()).trim().to_owned()
    });
    digest.parts.push(Part {
        kind: PartKind::Transaction,
        trace_id,
        root,
        failed: status.is_some_and(|status| status != "ok"),
        start: head.start_timestamp.seconds(),
        end: head.timestamp.seconds(),
        spans: children.saturating_add(1),
        label,
    });
}

fn error(project: u32, item: &Item<'_>, digest: &mut Digest) {
    let Ok(event) = serde_json::from_slice::<ErrorEvent>(item.payload) else { return };
    let at = event.timestamp.seconds();
    digest.errors.push(ErrorRow {
        issue: grouping::issue_id(project, &event),
        at,
        release: event.release.clone(),
        user: event.user.key().map(str::to_owned),
    });
    push_release(digest, event.release, event.environment, ReleaseSent::Error);
    if let Some(trace_id) = event.contexts.trace.trace_id.as_deref().and_then(trace_id) {
        digest.parts.push(plain_part(PartKind::Error, trace_id, at, at));
    }
}

#[derive(Deserialize)]
struct EntryHead<'a> {
    #[serde(borrow)]
    trace_id: Cow<'a, str>,
    #[serde(default)]
    timestamp: Timestamp,
}

fn batch(item: &Item<'_>, kind: PartKind, digest: &mut Digest) {
    let Ok(batch) = serde_json::from_slice::<Batch<'_>>(item.payload) else { return };
    let first = digest.parts.len();
    for entry in batch.items {
        let Ok(entry) = serde_json::from_str::<EntryHead<'_>>(entry.get()) else { continue };
        let Some(trace_id) = trace_id(&entry.trace_id) else { continue };
        let known = digest.parts[first..].iter().any(|part| part.trace_id == trace_id);
        if !known {
            let at = entry.timestamp.seconds();
            digest.parts.push(plain_part(kind, trace_id, at, at));
        }
    }
}

#[derive(Deserialize)]
struct SpanHead<'a> {
    #[serde(borrow)]
    trace_id: Cow<'a, str>,
    #[serde(borrow, default)]
    parent_span_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    status: Option<&'a RawValue>,
    #[serde(default)]
    start_timestamp: Timestamp,
    #[serde(default)]
    end_timestamp: Timestamp,
}

fn spans(item: &Item<'_>, digest: &mut Digest) {
    let batch = serde_json::from_slice::<Batch<'_>>(item.payload).unwrap_or(Batch { items: Vec::new() });
    if batch.items.is_empty() {
        let Ok(span) = serde_json::from_slice::<SpanPayload>(item.payload) else { return };
        let Some(trace_id) = span.trace_id.as_deref().and_then(trace_id) else { return };
        let (start, end) = (span.start_timestamp.seconds(), span.timestamp.seconds());
        let mut part = Part { spans: 1, ..plain_part(PartKind::Span, trace_id, start, end) };
        if span.parent_span_id.is_none() {
            part.root = true;
            part.label = span.description.or(span.op);
        }
        digest.parts.push(part);
        return;
    }
    let first = digest.parts.len();
    for entry in batch.items {
        let Ok(span) = serde_json::from_str::<SpanHead<'_>>(entry.get()) else { continue };
        let Some(trace_id) = trace_id(&span.trace_id) else { continue };
        let (start, end) = (span.start_timestamp.seconds(), span.end_timestamp.seconds());
        let position = digest.parts[first..].iter().position(|part| part.trace_id == trace_id);
        let position = position.map_or_else(
            || {
                digest.parts.push(plain_part(PartKind::Span, trace_id, start, end));
                digest.parts.len() - 1
            },
            |position| first + position,
        );
        let part = &mut digest.parts[position];
        part.spans = part.spans.saturating_add(1);
        part.start = part.start.min(start);
        part.end = part.end.max(end);
        part.failed |= as_text(span.status).is_some_and(|status| status != "ok");
        if as_text(span.parent_span_id).is_none() {
            part.root = true;
            part.label = as_text(span.name);
        }
    }
}

#[derive(Deserialize)]
struct SessionHead<'a> {
    #[serde(borrow)]
    attrs: Option<SessionAttributes<'a>>,
}

#[derive(Deserialize)]
struct SessionAttributes<'a> {
    #[serde(borrow)]
    release: Option<&'a RawValue>,
    #[serde(borrow)]
    environment: Option<&'a RawValue>,
}

fn session(item: &Item<'_>, digest: &mut Digest) {
    let Ok(SessionHead { attrs: Some(attributes) }) = serde_json::from_slice(item.payload) else { return };
    push_release(digest, as_text(attributes.release), as_text(attributes.environment), ReleaseSent::Session);
}

fn push_release(
    digest: &mut Digest,
    release: Option<String>,
    environment: Option<String>,
    sent: ReleaseSent,
) {
    if let Some(release) = release {
        digest.releases.push(ReleaseRow { release, environment: environment.unwrap_or_default(), sent });
    }
}

fn plain_part(kind: PartKind, trace_id: [u8; 16], start: f64, end: f64) -> Part {
    Part { kind, trace_id, root: false, failed: false, start, end, spans: 0, label: None }
}

/// A JSON string's text; anything else is absent.
fn as_text(raw: Option<&RawValue>) -> Option<String> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
}

/// Counts a list without keeping it.
struct Length(u32);

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Count;
        impl<'de> Visitor<'de> for Count {
            type Value = Length;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Length, A::Error> {
                let mut count = 0_u32;
                while list.next_element::<IgnoredAny>()?.is_some() {
                    count = count.saturating_add(1);
                }
                Ok(Length(count))
            }
        }
        deserializer.deserialize_seq(Count)
    }
}
