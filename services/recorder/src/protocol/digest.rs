//! Digest of an envelope: the small part that the index stores, read in one pass.
//!
//! It guarantees that the digest depends only on what the journal stores (the bytes, the project, the time of receipt), so
//! that a lost index is rebuilt with the same rows. The cost is linear in the bytes, and all texts are short.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap, HashSet},
};

use uuid::Uuid;

use super::{
    NO_PROJECT,
    actions::{OPERATOR_ACTION, OperatorAction},
    alert_state::{ALERT_STATE, StoredAlerts},
    envelope::Envelope,
    event::{ErrorEvent, LABEL_BYTES_MAX, SpanPayload, Transaction},
    fields::{self, Fields, cut},
    grouping,
    minidump::has_minidump,
    sessions::{self, Session},
    signals::{self, SpanV2},
};

/// Largest number of parts, errors or sessions per envelope in the index. Further ones are in the envelope only.
pub const ROWS_MAX: usize = 65_536;

/// Item types as bits, so that a listing by type skips envelopes that it need not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(pub u32);

/// Bit of an envelope with a minidump. It is no type of an item, but one of an attachment.
pub const MINIDUMP: &str = "minidump";
/// Bit of an envelope with the event that the recorder has made of a minidump.
pub const MINIDUMP_EVENT: &str = "minidump_event";
/// Member of the header of such an envelope: the `seq` of the envelope with the minidump.
pub const MINIDUMP_SEQ: &str = "pitboss_minidump_seq";

/// Types with their own bit. All other types share the last bit.
const KINDS: [&str; 18] = [
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
    MINIDUMP,
    MINIDUMP_EVENT,
];

/// Types whose payload is parsed.
const PARSED_TYPES: [&str; 7] =
    ["event", "transaction", "span", "log", "trace_metric", "session", "sessions"];

impl Kinds {
    /// Returns the bit of one item type.
    #[must_use]
    pub fn of(item_type: &str) -> Self {
        let position = KINDS.iter().position(|known| *known == item_type).unwrap_or(KINDS.len());
        Self(1 << position)
    }

    /// Returns the bit of an item that was sent. One whose type has the name of a bit for minidumps is an unknown type.
    fn of_item(item_type: &str) -> Self {
        if matches!(item_type, MINIDUMP | MINIDUMP_EVENT) {
            Self(1 << KINDS.len())
        } else {
            Self::of(item_type)
        }
    }

    /// Returns the bits of several item types.
    #[must_use]
    pub fn any_of(item_types: &[&str]) -> Self {
        Self(item_types.iter().fold(0, |bits, item_type| bits | Self::of(item_type).0))
    }

    /// Returns true if one of the other kinds is among these.
    #[must_use]
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// Kind of a [`Part`].
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
    /// Streamed spans of one segment, or standalone spans of one trace.
    Span = 5,
}

/// Contribution of one item to one trace. A streamed segment contributes as much as the transaction that it would have been.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Kind of the part.
    pub kind: PartKind,
    /// Trace that the part belongs to.
    pub trace_id: [u8; 16],
    /// True when the trace begins in this part.
    pub root: bool,
    /// True when the status of a service's root span is neither `ok` nor absent.
    pub failed: bool,
    /// Start, in seconds since the epoch.
    pub start: f64,
    /// End, in seconds since the epoch.
    pub end: f64,
    /// Number of spans, including the root span.
    pub spans: u32,
    /// Op and name of the part's own root.
    pub label: Option<String>,
}

/// One error event.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorRow {
    /// Issue that the event belongs to.
    pub issue: Uuid,
    /// Id that the sender gave the event. An event that is sent again has the same.
    pub event_id: Option<Uuid>,
    /// Time of the event, in seconds since the epoch.
    pub at: f64,
    /// Release in which it happened.
    pub release: Option<String>,
    /// Environment in which it happened. Empty if the event names none.
    pub environment: String,
    /// Affected user.
    pub user: Option<String>,
}

/// Mention of a release in an envelope.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReleaseRow {
    /// Version of the release.
    pub release: String,
    /// Environment of the release.
    pub environment: String,
    /// Kind of data that the release sent.
    pub sent: ReleaseSent,
    /// Number of transactions, streamed segments, error events or sums of sessions.
    pub count: u64,
}

/// Kind of data that a release can send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReleaseSent {
    /// A transaction, or a streamed segment.
    Transaction,
    /// An error event.
    Error,
    /// A session or an aggregate of sessions.
    Session,
}

/// All that the index stores of one envelope.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Digest {
    /// Types of its items.
    pub kinds: Kinds,
    /// Contributions to traces.
    pub parts: Vec<Part>,
    /// Error events.
    pub errors: Vec<ErrorRow>,
    /// Releases that it names.
    pub releases: Vec<ReleaseRow>,
    /// Sessions and sums of sessions.
    pub sessions: Vec<Session>,
    /// Actions of operators. Only the recorder itself stores them.
    pub actions: Vec<OperatorAction>,
    /// States of alerts. Only the recorder itself stores them.
    pub alerts: Vec<StoredAlerts>,
}

/// Reads the digest of an envelope of this project. `received_at` is in seconds since the epoch.
#[must_use]
pub fn digest(project: u32, received_at: f64, envelope: &Envelope<'_>) -> Digest {
    let event_id = envelope.headers.event_id.as_deref().and_then(uuid);
    let mut reader = DigestReader { project, received_at, event_id, digest: Digest::default() };
    // The event of a minidump says nothing of the crash. It counts when the dump has been read, in an envelope of its own.
    let is_unread = has_minidump(envelope);
    if is_unread {
        reader.digest.kinds.0 |= Kinds::of(MINIDUMP).0;
    }
    if envelope.headers.minidump_seq.is_some() {
        reader.digest.kinds.0 |= Kinds::of(MINIDUMP_EVENT).0;
    }
    for item in &envelope.items {
        let item_type = item.item_type();
        reader.digest.kinds.0 |= Kinds::of_item(&item_type).0;
        if is_unread && item_type == "event" {
            continue;
        }
        if PARSED_TYPES.contains(&item_type.as_ref())
            && let Some(json) = item.json()
        {
            reader.item(&item_type, json);
        }
        // A sender cannot act as an operator, because no key belongs to this project.
        if project == NO_PROJECT && item_type == OPERATOR_ACTION {
            reader.digest.actions.extend(item.json().and_then(OperatorAction::parse));
        }
        if project == NO_PROJECT && item_type == ALERT_STATE {
            reader.digest.alerts.extend(item.json().and_then(StoredAlerts::parse));
        }
    }
    reader.digest
}

/// Parses a trace id into its sixteen bytes.
#[must_use]
pub fn trace_id(text: &str) -> Option<[u8; 16]> {
    uuid(text).map(Uuid::into_bytes)
}

fn uuid(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok()
}

struct DigestReader {
    project: u32,
    received_at: f64,
    /// Id in the envelope's header, until an event has taken it.
    event_id: Option<Uuid>,
    digest: Digest,
}

impl DigestReader {
    fn item(&mut self, item_type: &str, json: &str) {
        match item_type {
            "transaction" => self.transaction(json),
            "event" => self.event(json),
            "log" => self.batch(json, PartKind::Log),
            "trace_metric" => self.batch(json, PartKind::Metric),
            "span" => self.spans(json),
            "session" | "sessions" => self.sessions(json),
            _ => {}
        }
    }

    fn transaction(&mut self, json: &str) {
        let transaction = Transaction::parse(json);
        self.release(transaction.release, transaction.environment, ReleaseSent::Transaction, 1);
        let trace = transaction.trace;
        let Some(trace_id) = trace.text("trace_id").as_deref().and_then(trace_id) else { return };
        let mut spans = 1_u32;
        if let Some(list) = transaction.spans {
            fields::each_entry(list.get(), |entry| {
                spans = spans.saturating_add(u32::from(entry.get().starts_with('{')));
            });
        }
        let end = transaction.timestamp.or(self.received_at);
        self.part(Part {
            kind: PartKind::Transaction,
            trace_id,
            root: trace.get("parent_span_id").is_none(),
            failed: failed(trace.text("status")),
            start: transaction.start_timestamp.or(end),
            end,
            spans,
            label: label(trace.text("op"), transaction.transaction),
        });
    }

    fn event(&mut self, json: &str) {
        let event = ErrorEvent::parse(json);
        if event.kind.as_deref() == Some("transaction") {
            return self.transaction(json);
        }
        if event.is_feedback() {
            self.digest.kinds.0 |= Kinds::of("feedback").0;
            return;
        }
        let at = event.timestamp.or(self.received_at);
        let issue = grouping::issue_id(self.project, &event);
        // The header's id takes precedence. A further event of the envelope has only its own.
        let event_id = self.event_id.take().or_else(|| event.event_id.as_deref().and_then(uuid));
        let (release, environment) = (event.release.clone(), event.environment.clone().unwrap_or_default());
        self.digest.errors.push(ErrorRow { issue, event_id, at, release, environment, user: event.user });
        self.release(event.release, event.environment, ReleaseSent::Error, 1);
        if let Some(trace_id) = event.trace_id.as_deref().and_then(trace_id) {
            self.part(plain_part(PartKind::Error, trace_id, at, at));
        }
    }

    fn batch(&mut self, json: &str, kind: PartKind) {
        let mut parts = Parts::default();
        let received_at = self.received_at;
        signals::each_entry(json, |entry| {
            if let Some(trace_id) = entry.text("trace_id").as_deref().and_then(trace_id) {
                let at = entry.time("timestamp").or(received_at);
                parts.part_for(plain_part(kind, trace_id, at, at));
            }
        });
        self.parts(parts);
    }

    fn spans(&mut self, json: &str) {
        let mut parts = Parts::default();
        let received_at = self.received_at;
        let mut releases: BTreeMap<(String, Option<String>), u64> = BTreeMap::new();
        let is_batch = signals::each_entry(json, |entry| {
            let span = SpanV2::read(&entry);
            let Some(trace_id) = span.trace_id.as_deref().and_then(trace_id) else { return };
            let end = span.end_timestamp.or(received_at);
            let new = plain_part(PartKind::Span, trace_id, span.start_timestamp.or(end), end);
            let Some(part) = parts.part_of_segment(new, span.segment_id.as_deref()) else { return };
            part.add(&span, end);
            let short = |name: &str| span.attributes.text(name).map(|text| cut(text, LABEL_BYTES_MAX));
            if span.is_segment
                && let Some(release) = short("sentry.release")
            {
                *releases.entry((release, short("sentry.environment"))).or_default() += 1;
            }
        });
        for ((release, environment), segments) in releases {
            self.release(Some(release), environment, ReleaseSent::Transaction, segments);
        }
        if is_batch {
            return self.parts(parts.with_the_earliest_root_last());
        }
        let span = SpanPayload::read(&Fields::parse(json));
        let Some(trace_id) = span.trace_id.as_deref().and_then(trace_id) else { return };
        let end = span.timestamp.or(received_at);
        self.part(Part {
            root: span.parent_span_id.is_none(),
            spans: 1,
            label: label(span.op, span.description),
            ..plain_part(PartKind::Span, trace_id, span.start_timestamp.or(end), end)
        });
    }

    fn sessions(&mut self, json: &str) {
        // All sums without a user share one row. Single sessions, and sums with a user, have their own rows.
        let mut sum: Option<Session> = None;
        let rows = &mut self.digest.sessions;
        let mut is_any = false;
        sessions::each(json, |session| {
            is_any = true;
            match (&session.sid, &session.did, &mut sum) {
                (None, None, Some(sum)) => sum.counts.add(session.counts),
                (None, None, none) => *none = Some(session),
                _ if rows.len() < ROWS_MAX - 1 => rows.push(session),
                _ => {}
            }
        });
        if rows.len() < ROWS_MAX {
            rows.extend(sum);
        }
        // The last row may be that of another item.
        if is_any && let Some(Session { release, environment, .. }) = rows.last().cloned() {
            self.release(Some(release), Some(environment), ReleaseSent::Session, 1);
        }
    }

    fn release(
        &mut self,
        release: Option<String>,
        environment: Option<String>,
        sent: ReleaseSent,
        count: u64,
    ) {
        if let Some(release) = release {
            let environment = environment.unwrap_or_default();
            self.digest.releases.push(ReleaseRow { release, environment, sent, count });
        }
    }

    fn part(&mut self, part: Part) {
        if self.digest.parts.len() < ROWS_MAX {
            self.digest.parts.push(part);
        }
    }

    fn parts(&mut self, parts: Parts) {
        let room = ROWS_MAX - self.digest.parts.len();
        self.digest.parts.extend(parts.list.into_iter().take(room));
    }
}

/// Parts of one item: one for each trace, and of streamed spans one for each segment.
#[derive(Default)]
struct Parts {
    list: Vec<Part>,
    /// First part of each trace.
    by_trace: HashMap<[u8; 16], usize>,
    by_segment: HashMap<([u8; 16], String), usize>,
    /// Traces whose first part belongs to a segment. Until then it has only spans that name none.
    claimed: HashSet<[u8; 16]>,
}

impl Parts {
    /// Returns the part of the trace, created from `new` if necessary. `None` means that there are too many.
    fn part_for(&mut self, new: Part) -> Option<&mut Part> {
        let known = self.by_trace.get(&new.trace_id).copied();
        let position = known.or_else(|| self.push(new))?;
        self.list.get_mut(position)
    }

    /// Does the same for a segment. A span that names no segment belongs to the first part of its trace.
    fn part_of_segment(&mut self, new: Part, segment: Option<&str>) -> Option<&mut Part> {
        let Some(segment) = segment else { return self.part_for(new) };
        let (trace_id, key) = (new.trace_id, (new.trace_id, segment.to_owned()));
        let known = self.by_segment.get(&key).copied();
        let unclaimed = self.by_trace.get(&trace_id).copied().filter(|_| !self.claimed.contains(&trace_id));
        let position = known.or(unclaimed).or_else(|| self.push(new))?;
        if known.is_none() {
            self.claimed.insert(trace_id);
            self.by_segment.insert(key, position);
        }
        self.list.get_mut(position)
    }

    /// Appends a part and returns its position.
    fn push(&mut self, new: Part) -> Option<usize> {
        if self.list.len() >= ROWS_MAX {
            return None;
        }
        let position = self.list.len();
        self.by_trace.entry(new.trace_id).or_insert(position);
        self.list.push(new);
        Some(position)
    }

    /// Orders the parts so that the listing of traces, which shows the last root, shows the earliest one of this item.
    fn with_the_earliest_root_last(mut self) -> Self {
        self.list.sort_by(|a, b| {
            let by_start = || if a.root && b.root { b.start.total_cmp(&a.start) } else { Ordering::Equal };
            a.root.cmp(&b.root).then_with(by_start)
        });
        self
    }
}

impl Part {
    /// Adds one streamed span. The earliest root names the part, without a root a segment, otherwise the first span.
    fn add(&mut self, span: &SpanV2<'_>, end: f64) {
        self.spans = self.spans.saturating_add(1);
        let start = span.start_timestamp.or(end);
        let is_earliest = start < self.start;
        self.start = self.start.min(start);
        self.end = self.end.max(end);
        let is_root = span.parent_span_id.is_none();
        if span.is_segment || is_root {
            self.failed |= failed(span.status.clone());
        }
        let is_first_root = is_root && (!self.root || is_earliest);
        if self.label.is_none() || is_first_root || (span.is_segment && !self.root) {
            self.label = label(Some(span.attributes.op()), span.name.clone());
        }
        self.root |= is_root;
    }
}

fn failed(status: Option<String>) -> bool {
    status.is_some_and(|status| status != "ok")
}

/// Joins op and name, without repeating a name that equals the op.
fn label(op: Option<String>, name: Option<String>) -> Option<String> {
    let (op, name) = (op.unwrap_or_default(), name.unwrap_or_default());
    let label = if name == op { name } else { format!("{op} {name}").trim().to_owned() };
    (!label.is_empty()).then(|| cut(label, LABEL_BYTES_MAX))
}

fn plain_part(kind: PartKind, trace_id: [u8; 16], start: f64, end: f64) -> Part {
    Part { kind, trace_id, root: false, failed: false, start, end, spans: 0, label: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_attachment_is_a_minidump() {
        let kinds =
            |body: &str| digest(1, 0.0, &Envelope::parse(body.as_bytes()).expect("an envelope")).kinds;
        let named = kinds("{}\n{\"type\":\"minidump\"}\n{}\n{\"type\":\"minidump_event\"}\n{}\n");
        assert!(!named.has(Kinds::of(MINIDUMP)) && !named.has(Kinds::of(MINIDUMP_EVENT)), "{named:?}");
        assert!(named.has(Kinds::of("a type that nobody knows")), "{named:?}");
        let attached = kinds(
            "{}\n{\"type\":\"attachment\",\"attachment_type\":\"event.minidump\",\"length\":4}\nMDMP\n",
        );
        assert!(attached.has(Kinds::of(MINIDUMP)), "{attached:?}");
        assert!(kinds("{\"pitboss_minidump_seq\":7}\n").has(Kinds::of(MINIDUMP_EVENT)));
    }
}
