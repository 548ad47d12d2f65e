//! What Spotlight read, by trace: the spans and errors of the envelopes that its stream sends, as its own parser took them apart.

use std::collections::{BTreeSet, HashMap, VecDeque};

use serde_json::Value;

use super::sse::Event;

/// Name of the events of envelopes in its stream.
const ENVELOPE: &str = "application/x-sentry-envelope";
/// Envelopes that Spotlight keeps.
const BUFFER_ENVELOPES: u64 = 500;
/// Largest number of traces that are kept. The oldest is forgotten first.
const TRACES_MAX: usize = 20_000;
/// Largest number of ids that are kept of one trace.
const IDS_MAX: usize = 20_000;
/// Largest number of characters that are kept of an id, which has 32 at most.
const ID_CHARS_MAX: usize = 64;

/// One trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SeenTrace {
    /// Ids of its spans, of transactions and of what is below them.
    pub(super) spans: BTreeSet<String>,
    /// Ids of its streamed spans, which Spotlight keeps and shows nowhere.
    pub(super) streamed: BTreeSet<String>,
    /// Ids of its error events.
    pub(super) errors: BTreeSet<String>,
    /// Ids of the spans in which the errors happened, which may never have been sent.
    pub(super) error_spans: BTreeSet<String>,
    /// Number of the first envelope with a part of it.
    pub(super) first_envelope: u64,
}

/// Everything since the stream is followed.
#[derive(Debug, Default)]
pub(super) struct Seen {
    traces: HashMap<String, SeenTrace>,
    /// Ids of the traces, the oldest first.
    order: VecDeque<String>,
    envelopes: u64,
    /// Number of the last envelope before this connection.
    before_connection: u64,
    unread: u64,
}

impl Seen {
    /// A new connection begins. Envelopes that are sent again count again.
    pub(super) fn begin_connection(&mut self) {
        self.before_connection = self.envelopes;
    }

    /// Returns true if Spotlight's buffer still has every envelope with a part of this trace. A trace of an earlier connection may be
    /// gone, because Spotlight may have been started again.
    pub(super) fn is_kept(&self, trace_id: &str) -> bool {
        let first = self.trace(trace_id).map(|trace| trace.first_envelope);
        first.is_some_and(|first| {
            first > self.before_connection && self.envelopes.saturating_sub(first) < BUFFER_ENVELOPES
        })
    }

    /// Number of envelopes that could not be read.
    pub(super) fn unread(&self) -> u64 {
        self.unread
    }

    /// What it has of a trace.
    pub(super) fn trace(&self, trace_id: &str) -> Option<&SeenTrace> {
        self.traces.get(trace_id)
    }

    /// Counts events of the stream that were too long to be read.
    pub(super) fn note_too_long(&mut self, events: u64) {
        self.envelopes += events;
        self.unread += events;
    }

    /// Reads an event of the stream. Others than envelopes are ignored.
    pub(super) fn note(&mut self, event: &Event) {
        if event.name != ENVELOPE {
            return;
        }
        self.envelopes += 1;
        let envelope: Option<Value> = serde_json::from_str(&event.data).ok();
        let parts =
            envelope.as_ref().and_then(|envelope| Some((envelope.get(0)?, envelope.get(1)?.as_array()?)));
        let Some((header, items)) = parts else {
            self.unread += 1;
            return;
        };
        for item in items {
            let (Some(of_type), Some(payload)) =
                (item.get(0).and_then(|item| item.get("type")).and_then(Value::as_str), item.get(1))
            else {
                continue;
            };
            match of_type {
                "transaction" => self.note_transaction(payload),
                "event" => self.note_error(header, payload),
                "span" => self.note_streamed(payload),
                _ => {}
            }
        }
    }

    fn note_transaction(&mut self, payload: &Value) {
        let Some(context) = trace_context(payload) else { return };
        let Some(trace) = self.of_trace(context) else { return };
        let children = payload.get("spans").and_then(Value::as_array).into_iter().flatten();
        for span in std::iter::once(context).chain(children) {
            insert(&mut trace.spans, id(span, "span_id"));
        }
    }

    fn note_error(&mut self, header: &Value, payload: &Value) {
        // The header's id takes precedence, as in Sentry and in the recorder.
        let event_id = id(header, "event_id").or_else(|| id(payload, "event_id"));
        let Some(context) = trace_context(payload) else { return };
        let Some(trace) = self.of_trace(context) else { return };
        insert(&mut trace.errors, event_id);
        insert(&mut trace.error_spans, id(context, "span_id"));
    }

    fn note_streamed(&mut self, payload: &Value) {
        for span in payload.get("items").and_then(Value::as_array).into_iter().flatten() {
            if let Some(trace) = self.of_trace(span) {
                insert(&mut trace.streamed, id(span, "span_id"));
            }
        }
    }

    /// The trace that a value names.
    fn of_trace(&mut self, value: &Value) -> Option<&mut SeenTrace> {
        let trace_id = id(value, "trace_id")?;
        if !self.traces.contains_key(&trace_id) {
            if self.order.len() >= TRACES_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.traces.remove(&oldest);
            }
            self.order.push_back(trace_id.clone());
        }
        let first_envelope = self.envelopes;
        Some(
            self.traces
                .entry(trace_id)
                .or_insert_with(|| SeenTrace { first_envelope, ..SeenTrace::default() }),
        )
    }
}

fn trace_context(payload: &Value) -> Option<&Value> {
    payload.get("contexts")?.get("trace")
}

fn insert(ids: &mut BTreeSet<String>, id: Option<String>) {
    if ids.len() < IDS_MAX {
        ids.extend(id);
    }
}

/// An id in its canonical form: lower-case hexadecimal digits without hyphens. Anybody can send another text, and it is shown at a
/// terminal, so it has no control characters and an end.
pub(super) fn id(value: &Value, name: &str) -> Option<String> {
    let text = value.get(name)?.as_str()?;
    let digits = text.chars().filter(|c| *c != '-' && !c.is_control()).map(|c| c.to_ascii_lowercase());
    let digits: String = digits.take(ID_CHARS_MAX).collect();
    (!digits.is_empty()).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::second_witness::sse::Reader;

    const STREAM: &str = include_str!("recorded/stream.sse");
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const STREAMED: &str = "1bf7651916cd43dd8448eb211c80319c";

    fn seen() -> Seen {
        let mut seen = Seen::default();
        for event in Reader::default().read(STREAM.as_bytes()) {
            seen.note(&event);
        }
        seen
    }

    #[test]
    fn stream_of_a_real_spotlight_is_read() {
        let seen = seen();
        assert_eq!((seen.envelopes, seen.unread()), (5, 0));
        let trace = seen.trace(TRACE).unwrap();
        let spans: Vec<&str> = trace.spans.iter().map(String::as_str).collect();
        assert_eq!(spans, ["aaaaaaaa00000001", "bbbbbbbb00000002", "cccccccc00000003", "dddddddd00000004"]);
        let errors: Vec<&str> = trace.errors.iter().map(String::as_str).collect();
        assert_eq!(errors, ["2ec79c33ec9942ab8353589fcb2e04dc"], "without hyphens");
        assert_eq!(trace.first_envelope, 1);
        let streamed = seen.trace(STREAMED).unwrap();
        assert_eq!((streamed.spans.len(), streamed.streamed.len(), streamed.first_envelope), (0, 1, 4));
    }

    #[test]
    fn envelopes_that_are_sent_again_change_nothing() {
        let mut seen = seen();
        let before = seen.trace(TRACE).cloned();
        for event in Reader::default().read(STREAM.as_bytes()) {
            seen.note(&event);
        }
        assert_eq!(seen.trace(TRACE), before.as_ref());
    }

    #[test]
    fn trace_is_kept_while_the_buffer_has_all_of_it() {
        let mut seen = seen();
        assert!(seen.is_kept(TRACE) && !seen.is_kept("unknown"));
        seen.note_too_long(BUFFER_ENVELOPES - seen.envelopes);
        assert!(seen.is_kept(TRACE), "it begins with the oldest of the last envelopes");
        seen.note_too_long(1);
        assert!(!seen.is_kept(TRACE) && seen.is_kept(STREAMED));
        seen.begin_connection();
        assert!(!seen.is_kept(STREAMED), "it may be another process");
    }

    #[test]
    fn id_of_the_header_takes_precedence() {
        let mut seen = Seen::default();
        let context = serde_json::json!({"trace_id": TRACE, "span_id": "DD"});
        let error = serde_json::json!({"event_id": "cc", "contexts": {"trace": context}});
        let data = serde_json::json!([{"event_id": "A-B"}, [[{"type": "event"}, error]]]).to_string();
        seen.note(&Event { name: ENVELOPE.to_owned(), data });
        let trace = seen.trace(TRACE).unwrap();
        assert!(trace.errors.iter().eq(["ab"]) && trace.error_spans.iter().eq(["dd"]), "{trace:?}");
    }

    #[test]
    fn ids_are_short_and_have_no_control_characters() {
        let value = serde_json::json!({"a": "A-b\u{1b}[2J", "b": "-", "c": 7, "d": "f".repeat(1_000)});
        assert_eq!(id(&value, "a").as_deref(), Some("ab[2j"));
        assert_eq!((id(&value, "b"), id(&value, "c"), id(&value, "e")), (None, None, None));
        assert_eq!(id(&value, "d").map(|id| id.len()), Some(ID_CHARS_MAX));
    }

    #[test]
    fn unreadable_envelopes_are_counted() {
        let mut seen = Seen::default();
        for (name, data) in [(ENVELOPE, "{"), (ENVELOPE, "[{}]"), ("message", "{")] {
            seen.note(&Event { name: name.to_owned(), data: data.to_owned() });
        }
        seen.note_too_long(1);
        assert_eq!((seen.envelopes, seen.unread()), (3, 3));
    }

    #[test]
    fn oldest_trace_is_forgotten_first() {
        let mut seen = Seen::default();
        for number in 0..=TRACES_MAX {
            let span = serde_json::json!({"trace_id": format!("{number:032x}"), "span_id": "a"});
            assert!(seen.of_trace(&span).is_some());
        }
        assert!(seen.trace(&format!("{:032x}", 0)).is_none() && seen.trace(&format!("{:032x}", 1)).is_some());
        assert_eq!((seen.traces.len(), seen.order.len()), (TRACES_MAX, TRACES_MAX));
    }
}
