//! A dead letter as it is read back: its place, its newest verdict, the place of its first appearance, and the record itself.
//!
//! [`LetterReader`] reads the dead letters of all groups. [`replay()`] publishes a letter's record again, and [`discard`] gives it
//! up. Both leave an [`Action`] in `casino.dlq.actions.v1`, by which a letter counts as closed. Nothing deletes a letter before its
//! topic's retention does.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use contracts::{Event, EventId, EventType, Group, Message, Topic, headers};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use telemetry::propagation;

use crate::record::Record;

mod action;
mod reader;
mod replay;

pub use action::{Action, ActionKind, Handled, History, LetterPlace, Note};
pub use reader::{Actions, Keep, LetterReader, Letters, Limits};
pub use replay::{ActError, Known, Replayed, discard, replay, replay_once};

/// Maximum number of characters of a header that is shown. Anyone may have written it.
const SHOWN_CHARS_MAX: usize = 512;
/// Part of a dead-letter topic's name before the group.
const DLQ_INFIX: &str = ".dlq.";

/// Place of a dead letter. Its text can be typed: `game/bets.commands/12`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LetterId {
    /// The group that gave up.
    pub group: Group,
    /// Topic that the group read the record from.
    pub topic: Topic,
    /// Partition of the dead-letter topic.
    pub partition: i32,
    /// Offset there.
    pub offset: i64,
}

/// The text is not the id of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the id of a dead letter such as game/bets.commands/12, as `dlq list` shows it")]
pub struct InvalidLetterId;

/// Name of a topic without the parts that all have: `bets.commands`.
#[must_use]
pub fn short_name(topic: Topic) -> &'static str {
    let name = topic.name();
    let name = name.strip_prefix("casino.").unwrap_or(name);
    name.strip_suffix(".v1").unwrap_or(name)
}

/// Topic of a full or short name.
#[must_use]
pub fn topic_named(text: &str) -> Option<Topic> {
    Topic::ALL.iter().copied().find(|topic| topic.name() == text || short_name(*topic) == text)
}

impl LetterId {
    /// Catalogue name of the topic that it lies in.
    #[must_use]
    pub fn dead_letter_topic(&self) -> String {
        self.topic.dlq(self.group)
    }

    /// Place of a record that was read from a dead-letter topic.
    fn of_record(record: &Record) -> Option<Self> {
        let (topic, group) = of_name(&record.topic)?;
        Some(Self { group, topic, partition: record.partition, offset: record.offset })
    }
}

/// Topic and group in the name of a dead-letter topic.
fn of_name(name: &str) -> Option<(Topic, Group)> {
    let topic = Topic::of_record(name)?;
    let group = name.strip_prefix(topic.name())?.strip_prefix(DLQ_INFIX)?.parse().ok()?;
    Some((topic, group))
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, topic, partition, offset } = *self;
        let topic = short_name(topic);
        match partition {
            0 => f.pad(&format!("{group}/{topic}/{offset}")),
            _ => f.pad(&format!("{group}/{topic}/{partition}/{offset}")),
        }
    }
}

impl FromStr for LetterId {
    type Err = InvalidLetterId;

    /// Also reads the place in full, `casino.bets.commands.v1.dlq.game/0/12`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('/').collect();
        let (named, partition, offset) = match parts.as_slice() {
            [name, partition, offset] if name.contains(DLQ_INFIX) => (of_name(name), *partition, *offset),
            [group, topic, offset] => (topic_named(topic).zip(group.parse().ok()), "0", *offset),
            [group, topic, partition, offset] => {
                (topic_named(topic).zip(group.parse().ok()), *partition, *offset)
            }
            _ => (None, "", ""),
        };
        let (topic, group) =
            named.filter(|(topic, group)| group.reads().contains(topic)).ok_or(InvalidLetterId)?;
        let partition = partition.parse::<i32>().map_err(|_| InvalidLetterId)?;
        let offset = offset.parse::<i64>().map_err(|_| InvalidLetterId)?;
        if partition < 0 || offset < 0 {
            return Err(InvalidLetterId);
        }
        Ok(Self { group, topic, partition, offset })
    }
}

/// Place where a record appeared first. Copies of a record have the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FirstPlace {
    /// Catalogue name of the topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

impl fmt::Display for FirstPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

/// The newest reason why a record is a dead letter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Class of the error (`undecodable`, `poison`, `panic`, …). Empty if the letter names none.
    pub class: String,
    /// The error's text on one line.
    pub reason: String,
    /// Number of attempts.
    pub attempts: Option<u32>,
    /// Time of parking by the service's clock, RFC 3339.
    pub failed_at: String,
    /// The service that parked it.
    pub service: String,
}

/// A value, decoded as far as possible.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A valid message of this type, as proto3 JSON.
    Message {
        /// Its type.
        event_type: EventType,
        /// Its fields.
        json: Value,
    },
    /// JSON that is not a valid message.
    Json(Value),
    /// Other text.
    Text(String),
    /// Anything else.
    Bytes(Bytes),
    /// No value.
    Empty,
}

/// A dead letter.
#[derive(Debug)]
pub struct Letter {
    /// Its place.
    pub id: LetterId,
    /// The broker's time of the letter, in milliseconds since 1970.
    pub parked_at_ms: Option<i64>,
    /// Why it is a dead letter.
    pub verdict: Verdict,
    /// Place of the record's first appearance.
    pub first: FirstPlace,
    /// Identity of the record, the same for every copy.
    pub event_id: EventId,
    record: Record,
}

impl Letter {
    /// Reads a record of a dead-letter topic. Returns `None` for a record of another topic.
    pub(crate) fn of(record: Record) -> Option<Self> {
        let id = LetterId::of_record(&record)?;
        Some(Self::assemble(id, record))
    }

    /// Creates a letter that was never on a broker, for tests of programs that show letters.
    #[must_use]
    pub fn example(id: LetterId, parked_at_ms: i64, headers: &[(&str, &str)], value: &str) -> Self {
        let owned =
            |(name, text): &(&str, &str)| ((*name).to_owned(), Bytes::copy_from_slice(text.as_bytes()));
        let record = Record {
            topic: id.dead_letter_topic(),
            partition: id.partition,
            offset: id.offset,
            key: Some(Bytes::from_static(b"p-1")),
            headers: headers.iter().map(owned).collect(),
            value: Bytes::copy_from_slice(value.as_bytes()),
            timestamp_ms: Some(parked_at_ms),
            is_tombstone: false,
            native_headers: None,
            headers_unreadable: false,
        };
        Self::assemble(id, record)
    }

    fn assemble(id: LetterId, record: Record) -> Self {
        let view = record.view();
        let first = view.first_appearance().unwrap_or(view.place());
        let first =
            FirstPlace { topic: first.topic.to_owned(), partition: first.partition, offset: first.offset };
        let verdict = Verdict {
            class: text(&record, headers::DLQ_ERROR_CLASS),
            reason: text(&record, headers::DLQ_ERROR_MESSAGE),
            attempts: text(&record, headers::DLQ_ATTEMPTS).parse().ok(),
            failed_at: text(&record, headers::DLQ_AT),
            service: text(&record, headers::DLQ_SERVICE),
        };
        let event_id = view.identity();
        Self { id, parked_at_ms: record.timestamp_ms, verdict, first, event_id, record }
    }

    /// The record's key.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.record.key.as_deref()
    }

    /// All headers that can be read, those of the letter too.
    #[must_use]
    pub fn headers(&self) -> &[(String, Bytes)] {
        &self.record.headers
    }

    /// Size of the value in bytes.
    #[must_use]
    pub fn value_bytes(&self) -> usize {
        self.record.value.len()
    }

    /// The type that the record names, or that its content has.
    #[must_use]
    pub fn event_type(&self) -> Option<String> {
        let named = text(&self.record, headers::CE_TYPE);
        if !named.is_empty() {
            return Some(named);
        }
        match self.content() {
            Content::Message { event_type, .. } => Some(event_type.as_str().to_owned()),
            Content::Json(json) => json.get("type").and_then(Value::as_str).map(one_line),
            _ => None,
        }
    }

    /// Decodes the value.
    #[must_use]
    pub fn content(&self) -> Content {
        let value = &self.record.value;
        if value.is_empty() {
            return Content::Empty;
        }
        if let Ok(event) = Event::decode(&self.record.view()) {
            return Content::Message { event_type: event.event_type(), json: event.message.to_json() };
        }
        if let Ok(json) = serde_json::from_slice(value) {
            return Content::Json(json);
        }
        // A message in the wrong topic, or with a header that is refused
        let named = text(&self.record, headers::CE_TYPE).parse::<EventType>();
        if let Ok(event_type) = named
            && let Ok(message) = Message::from_protobuf(event_type, value)
        {
            return Content::Message { event_type, json: message.to_json() };
        }
        match std::str::from_utf8(value) {
            Ok(text) if !text.chars().any(|c| c.is_control() && !c.is_whitespace()) => {
                Content::Text(text.to_owned())
            }
            _ => Content::Bytes(value.clone()),
        }
    }

    /// The trace that the record belongs to, as 32 hex digits.
    #[must_use]
    pub fn trace_id(&self) -> Option<String> {
        self.traceparent()?.split('-').nth(1).map(str::to_owned)
    }

    /// The record's trace as W3C `traceparent`: from its headers, its CloudEvents extension, or the move to the dead letters.
    #[must_use]
    pub fn traceparent(&self) -> Option<String> {
        let carried = self.record.headers.iter().map(|(name, value)| (name.as_str(), value.as_ref()));
        let extension = || {
            let (_, extension) = Event::decode_traced(&self.record.view()).ok()?;
            traceparent_of(extension.pairs().map(|(name, value)| (name, value.as_bytes())))
        };
        let of_move = || {
            let value = self.record.header(headers::DLQ_RETRY_TRACEPARENT)?;
            traceparent_of([(headers::TRACEPARENT, value.as_ref())])
        };
        traceparent_of(carried).or_else(extension).or_else(of_move)
    }

    /// Returns true if both hold the same record: the same first place, key and value.
    #[must_use]
    pub fn is_same_record(&self, other: &Self) -> bool {
        let content = |letter: &Self| (letter.record.key.clone(), letter.record.value.clone());
        self.first == other.first && content(self) == content(other)
    }

    pub(crate) fn cost_bytes(&self) -> usize {
        self.record.cost_bytes()
    }
}

fn traceparent_of<'a>(carried: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Option<String> {
    let written = propagation::headers_of(&propagation::extract(carried));
    written.into_iter().find(|(name, _)| *name == headers::TRACEPARENT).map(|(_, value)| value)
}

/// Text of the last header of this name on one line of bounded length. Empty if there is none.
pub(crate) fn text(record: &Record, name: &str) -> String {
    record.header(name).map(|value| one_line(&String::from_utf8_lossy(value))).unwrap_or_default()
}

/// The beginning of a text without control characters, which could steer a terminal.
fn one_line(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A letter of game's with these further headers and this value.
    pub(crate) fn letter(more: &[(&str, &str)], value: &str) -> Letter {
        let place = [
            (headers::DLQ_TOPIC, "casino.bets.commands.v1"),
            (headers::DLQ_PARTITION, "2"),
            (headers::DLQ_OFFSET, "7"),
            (headers::DLQ_ERROR_CLASS, "poison"),
        ];
        let id = LetterId { group: Group::Game, topic: Topic::BetsCommands, partition: 0, offset: 12 };
        Letter::example(id, 1_000_000, &[more, place.as_slice()].concat(), value)
    }

    #[test]
    fn id_is_read_in_both_forms() {
        let id = LetterId { group: Group::Game, topic: Topic::BetsCommands, partition: 0, offset: 12 };
        assert_eq!(id.to_string(), "game/bets.commands/12");
        for text in [
            "game/bets.commands/12",
            "game/casino.bets.commands.v1/12",
            "casino.bets.commands.v1.dlq.game/0/12",
            "game/bets.commands/0/12",
        ] {
            assert_eq!(text.parse(), Ok(id), "{text}");
        }
        let elsewhere = LetterId { partition: 3, ..id };
        assert_eq!(elsewhere.to_string().parse(), Ok(elsewhere));
        for invalid in
            ["", "game", "game/bets.commands", "game/bets.commands/-1", "user/bets.commands/1", "a/b/c/d/e"]
        {
            assert_eq!(invalid.parse::<LetterId>(), Err(InvalidLetterId), "{invalid}");
        }
    }

    #[test]
    fn letter_names_verdict_and_first_place() {
        let shown =
            letter(&[(headers::DLQ_ERROR_MESSAGE, "a\u{1b}[31mb"), (headers::DLQ_ATTEMPTS, "3")], "{}");
        assert_eq!(shown.verdict.class, "poison");
        assert_eq!(shown.verdict.reason, "a [31mb", "a control character could steer the terminal");
        assert_eq!(
            (shown.verdict.attempts, shown.first.to_string().as_str()),
            (Some(3), "casino.bets.commands.v1/2/7")
        );
        let expected = contracts::ids::record_id("casino.bets.commands.v1", 2, 7);
        assert_eq!(shown.event_id, expected, "the identity is that of the first appearance");
    }

    #[test]
    fn value_is_decoded_as_far_as_possible() {
        assert_eq!(letter(&[], "").content(), Content::Empty);
        assert_eq!(letter(&[], r#"{"a":1}"#).content(), Content::Json(serde_json::json!({ "a": 1 })));
        assert_eq!(letter(&[], "plain").content(), Content::Text("plain".to_owned()));
        assert!(matches!(letter(&[], "\u{1}\u{2}").content(), Content::Bytes(_)));
        let bet = r#"{"type":"casino.bets.v1.PlaceBet","data":{"playerId":"p-1","game":"slots","stake":{"minor":"100","currency":"EUR"}}}"#;
        let content = letter(&[], bet).content();
        assert!(
            matches!(&content, Content::Message { event_type: EventType::PlaceBet, json } if json["playerId"] == "p-1"),
            "{content:?}"
        );
    }

    #[test]
    fn trace_is_that_of_the_headers() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let shown = letter(&[(headers::TRACEPARENT, parent)], "{}");
        assert_eq!(shown.traceparent().as_deref(), Some(parent));
        assert_eq!(shown.trace_id().as_deref(), Some("0af7651916cd43dd8448eb211c80319c"));
        assert_eq!(letter(&[(headers::TRACEPARENT, "damaged")], "{}").trace_id(), None);
        let without = letter(&[(headers::DLQ_RETRY_TRACEPARENT, parent)], "{}");
        assert_eq!(without.traceparent().as_deref(), Some(parent), "the trace of the failed attempt");
    }
}
