//! [`Event`]: one CloudEvent around one [`Message`], and its form on Kafka.
//!
//! Written in binary mode (attributes in headers, the message as protobuf or JSON in the value). Read in binary mode
//! and, as people type it into a console, in structured mode (one JSON object). What is unknown is refused, except
//! for unknown protobuf fields: whoever wrote those is newer than we are.

mod binary;
mod header_set;
mod structured;

use bytes::Bytes;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::decode_error::DecodeError;
use crate::ids::{self, EventId, RequestHash};
use crate::message::Message;
use crate::topics::RECORD_BYTES_MAX;
use crate::{EventType, Topic, headers};
use header_set::HeaderSet;

/// One event: who says what, when, about which player, and what it follows from.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The identity that tells a duplicate.
    pub id: EventId,
    /// Which part made it.
    pub source: String,
    /// When it was made.
    pub time: OffsetDateTime,
    /// The event it follows from.
    pub causation_id: Option<EventId>,
    /// The hash of the client's request, on commands.
    pub request_hash: Option<RequestHash>,
    /// What it says.
    pub message: Message,
}

/// How the value of a record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `application/protobuf`: what our services write.
    Protobuf,
    /// `application/json`: what people read.
    Json,
}

/// An event in the form that the producer sends. Trace headers are added by the producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Where it goes.
    pub topic: Topic,
    /// The player's id, so that a player's events stay in order.
    pub key: Bytes,
    /// The CloudEvents attributes and the content type.
    pub headers: Vec<(String, Bytes)>,
    /// The message.
    pub value: Bytes,
}

/// A record as it was read, before anybody knows what it is.
#[derive(Debug, Clone, Copy)]
pub struct RecordView<'a> {
    /// Where it was read.
    pub topic: &'a str,
    /// Of which partition.
    pub partition: i32,
    /// At which offset.
    pub offset: i64,
    /// The broker's timestamp; the event's time where it says none itself.
    pub timestamp_ms: Option<i64>,
    /// All headers, in order; names may repeat.
    pub headers: &'a [(String, Bytes)],
    /// The value; empty where there is none.
    pub value: &'a [u8],
}

/// What a record says about itself, apart from its message.
#[derive(Debug, Default)]
struct Attributes {
    id: Option<EventId>,
    source: Option<String>,
    time: Option<OffsetDateTime>,
    subject: Option<String>,
    causation_id: Option<EventId>,
    request_hash: Option<RequestHash>,
}

impl Event {
    /// A command, made now: `id` is [`ids::command_id`] and `request_hash` [`ids::request_hash`].
    pub fn command(
        id: EventId,
        source: impl Into<String>,
        request_hash: RequestHash,
        message: impl Into<Message>,
    ) -> Self {
        Self {
            id,
            source: source.into(),
            time: OffsetDateTime::now_utc(),
            causation_id: None,
            request_hash: Some(request_hash),
            message: message.into(),
        }
    }

    /// What follows from `cause`, made now. The id is derived from the cause: made again, it is the same event.
    pub fn follower(cause: &EventId, source: impl Into<String>, message: impl Into<Message>) -> Self {
        let message = message.into();
        Self {
            id: ids::follower_id(cause, message.event_type()),
            source: source.into(),
            time: OffsetDateTime::now_utc(),
            causation_id: Some(cause.clone()),
            request_hash: None,
            message,
        }
    }

    /// The same event with the hash of the client's request, for a command that follows from a command.
    #[must_use]
    pub fn with_request_hash(mut self, request_hash: RequestHash) -> Self {
        self.request_hash = Some(request_hash);
        self
    }

    /// The type of the message.
    pub const fn event_type(&self) -> EventType {
        self.message.event_type()
    }

    /// Whose event it is.
    pub fn player_id(&self) -> &str {
        self.message.player_id()
    }

    /// The hash that came with the event, or that of its content where none came: the first consumer computes it.
    pub fn request_hash_or_computed(&self) -> RequestHash {
        self.request_hash.clone().unwrap_or_else(|| ids::request_hash(&self.message))
    }

    /// Reads a record. Refuses whatever is not exactly one valid event of ours.
    pub fn decode(record: &RecordView<'_>) -> Result<Self, DecodeError> {
        if record.value.is_empty() {
            return Err(DecodeError::EmptyValue);
        }
        if record.value.len() > RECORD_BYTES_MAX {
            return Err(DecodeError::ValueTooLarge { bytes: record.value.len() });
        }
        let header_set = HeaderSet::read(record.headers)?;
        let (attributes, message) = if header_set.event_type.is_some() {
            binary::decode(&header_set, record.value)?
        } else {
            structured::decode(&header_set, record.value)?
        };
        Self::assemble(record, attributes, message)
    }

    /// Checks what binary and structured mode have in common, and fills in what may be absent.
    fn assemble(
        record: &RecordView<'_>,
        attributes: Attributes,
        message: Message,
    ) -> Result<Self, DecodeError> {
        let event_type = message.event_type();
        // A name that is none of our topics has no rule: tests and one-off copies read from wherever they like.
        if let Some(topic) = Topic::of_record(record.topic)
            && topic != event_type.topic()
        {
            return Err(DecodeError::WrongTopic { event_type, topic });
        }
        if attributes.subject.is_some_and(|subject| subject != message.player_id()) {
            return Err(DecodeError::Attribute {
                name: "subject",
                problem: "is not the message's player id",
            });
        }
        let recorded_at = record.timestamp_ms.and_then(|timestamp_ms| {
            OffsetDateTime::from_unix_timestamp_nanos(i128::from(timestamp_ms) * 1_000_000).ok()
        });
        Ok(Self {
            id: attributes
                .id
                .unwrap_or_else(|| ids::record_id(record.topic, record.partition, record.offset)),
            source: attributes.source.unwrap_or_else(|| format!("/kafka/{}", record.topic)),
            time: attributes.time.or(recorded_at).unwrap_or_else(OffsetDateTime::now_utc),
            causation_id: attributes.causation_id,
            request_hash: attributes.request_hash,
            message,
        })
    }

    /// Writes the event in binary mode.
    pub fn encode(&self, format: Format) -> Encoded {
        let event_type = self.event_type();
        let (content_type, value) = match format {
            Format::Protobuf => (headers::APPLICATION_PROTOBUF, self.message.encode_protobuf()),
            Format::Json => (headers::APPLICATION_JSON, self.message.encode_json()),
        };
        let mut pairs = vec![
            (headers::CE_SPECVERSION, headers::SPEC_VERSION.to_owned()),
            (headers::CE_ID, self.id.to_string()),
            (headers::CE_TYPE, event_type.as_str().to_owned()),
            (headers::CE_SOURCE, self.source.clone()),
            (headers::CE_TIME, rfc3339(self.time)),
            (headers::CE_SUBJECT, self.player_id().to_owned()),
        ];
        pairs.extend(self.causation_id.as_ref().map(|id| (headers::CE_CAUSATIONID, id.to_string())));
        pairs.extend(self.request_hash.as_ref().map(|hash| (headers::CE_REQUESTHASH, hash.to_string())));
        pairs.push((headers::CONTENT_TYPE, content_type.to_owned()));
        Encoded {
            topic: event_type.topic(),
            key: Bytes::from(self.player_id().to_owned()),
            headers: pairs.into_iter().map(|(name, text)| (name.to_owned(), Bytes::from(text))).collect(),
            value,
        }
    }
}

/// The time as CloudEvents writes it. Only years beyond 9999 have no such form; they are cut to the epoch.
fn rfc3339(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_else(|_| "1970-01-01T00:00:00Z".to_owned())
}

/// Reads a CloudEvents time.
fn parse_time(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}
