//! [`Event`]: one CloudEvent around one [`Message`], and its form on Kafka.
//!
//! It writes binary mode only: attributes in headers, the message as protobuf or JSON in the value. It reads binary mode
//! and structured mode (one JSON object), which people type into a console and SDKs of other languages write
//! (`docs/PRODUCERS.md`). The content type selects the mode. The envelope may hold everything that CloudEvents allows.
//! An unknown JSON field of the message is refused. Unknown protobuf fields are skipped, as their producer is newer.

mod binary;
mod envelope;
mod media_type;
mod payload;
mod place;
mod record_headers;
mod structured;

use bytes::Bytes;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use crate::decode_error::DecodeError;
use crate::ids::{self, EventId, RequestHash};
use crate::json::printable;
use crate::message::Message;
use crate::topics::RECORD_BYTES_MAX;
use crate::{EventType, Topic, headers};
pub use place::Place;
use record_headers::RecordHeaders;

/// Longest `source` that is accepted.
const SOURCE_BYTES_MAX: usize = 256;

/// One event: its message, producer, time and cause.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The identity by which consumers recognise a duplicate.
    pub id: EventId,
    /// The part that created it.
    pub source: String,
    /// Time of its creation.
    pub time: OffsetDateTime,
    /// The event that caused it.
    pub causation_id: Option<EventId>,
    /// The hash of the client's request, on commands.
    pub request_hash: Option<RequestHash>,
    /// The content.
    pub message: Message,
    /// Send time that the producer states, in milliseconds since 1970, if it is not the moment of the publish. It belongs to the
    /// record and not to the event, so a decoded event has none.
    pub sent_at_ms: Option<i64>,
}

/// Encoding of a record's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `application/protobuf`, which Pitboss services write.
    Protobuf,
    /// `application/json`, which people can read.
    Json,
}

/// An encoded event. The producer adds the trace headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The destination.
    pub topic: Topic,
    /// The player's id, so that a player's events stay in order.
    pub key: Bytes,
    /// The CloudEvents attributes and the content type.
    pub headers: Vec<(String, Bytes)>,
    /// The encoded message.
    pub value: Bytes,
}

/// A record as it was read, before it is decoded.
#[derive(Debug, Clone, Copy)]
pub struct RecordView<'a> {
    /// The topic it was read from.
    pub topic: &'a str,
    /// The partition it was read from.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The broker's timestamp. It is the event's time if the event has none.
    pub timestamp_ms: Option<i64>,
    /// All headers that have a value, in order. Names may repeat. A header with a null value is left out.
    pub headers: &'a [(String, Bytes)],
    /// The value, empty if there is none.
    pub value: &'a [u8],
}

/// CloudEvents' distributed tracing extension: the trace in which the producer created the event. It is used only if the
/// record has no trace header of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TraceExtension {
    /// The attribute `traceparent`, unchecked.
    pub traceparent: Option<String>,
    /// The attribute `tracestate`, unchecked.
    pub tracestate: Option<String>,
}

impl TraceExtension {
    /// Its attributes under the names of the corresponding trace headers.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let parent = self.traceparent.as_deref().map(|text| (headers::TRACEPARENT, text));
        let state = self.tracestate.as_deref().map(|text| (headers::TRACESTATE, text));
        parent.into_iter().chain(state)
    }
}

/// A record as one of the two modes has decoded it.
struct Read {
    attributes: Attributes,
    message: Message,
    trace: TraceExtension,
}

/// The CloudEvents attributes of a record.
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
    /// Creates a command with the current time. `id` is [`ids::command_id`] and `request_hash` is [`ids::request_hash`].
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
            sent_at_ms: None,
        }
    }

    /// Creates an event that follows from `cause`, with the current time. The same cause and type give the same id.
    pub fn follower(cause: &EventId, source: impl Into<String>, message: impl Into<Message>) -> Self {
        let message = message.into();
        Self {
            id: ids::follower_id(cause, message.event_type()),
            source: source.into(),
            time: OffsetDateTime::now_utc(),
            causation_id: Some(cause.clone()),
            request_hash: None,
            message,
            sent_at_ms: None,
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

    /// The id of the player that the event belongs to.
    pub fn player_id(&self) -> &str {
        self.message.player_id()
    }

    /// The hash from the event, or the hash of its content if the event has none. The first consumer computes it.
    pub fn request_hash_or_computed(&self) -> RequestHash {
        self.request_hash.clone().unwrap_or_else(|| ids::request_hash(&self.message))
    }

    /// Decodes a record. It refuses everything that is not exactly one valid Pitboss event.
    pub fn decode(record: &RecordView<'_>) -> Result<Self, DecodeError> {
        Self::decode_traced(record).map(|(event, _)| event)
    }

    /// Does the same as [`Self::decode`] and also returns the event's own trace extension.
    pub fn decode_traced(record: &RecordView<'_>) -> Result<(Self, TraceExtension), DecodeError> {
        if record.value.is_empty() {
            return Err(DecodeError::EmptyValue);
        }
        if record.value.len() > RECORD_BYTES_MAX {
            return Err(DecodeError::ValueTooLarge { bytes: record.value.len() });
        }
        let all = RecordHeaders::new(record.headers)?;
        all.check_complete()?;
        let read = if is_structured(all, record.value)? {
            structured::decode(all, record.value)?
        } else {
            binary::decode(all, record.value)?
        };
        Ok((Self::assemble(record, read.attributes, read.message)?, read.trace))
    }

    /// Checks the rules common to both modes and fills in absent attributes.
    fn assemble(
        record: &RecordView<'_>,
        attributes: Attributes,
        message: Message,
    ) -> Result<Self, DecodeError> {
        let event_type = message.event_type();
        // An unknown topic has no rule, so that tests and one-off copies may read from any topic.
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
        // An unreadable first place is tolerated only if the event has an id, because otherwise that place gives it its id.
        let first = match attributes.id {
            Some(_) => record.first_appearance().unwrap_or(record.place()),
            None => record.first_appearance()?,
        };
        let recorded_at = first.timestamp_ms.and_then(|timestamp_ms| {
            OffsetDateTime::from_unix_timestamp_nanos(i128::from(timestamp_ms) * 1_000_000).ok()
        });
        Ok(Self {
            id: attributes.id.unwrap_or_else(|| first.event_id()),
            source: attributes.source.unwrap_or_else(|| format!("/kafka/{}", first.topic)),
            time: attributes.time.or(recorded_at).unwrap_or_else(OffsetDateTime::now_utc),
            causation_id: attributes.causation_id,
            request_hash: attributes.request_hash,
            message,
            sent_at_ms: None,
        })
    }

    /// Encodes the event in binary mode.
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

/// Formats a time as CloudEvents requires. Years outside 0 to 9999 cannot be written, and become the epoch.
fn rfc3339(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_else(|_| "1970-01-01T00:00:00Z".to_owned())
}

/// Parses a CloudEvents time, with `Z` or any offset, and converts it to UTC.
fn parse_time(text: &str) -> Option<OffsetDateTime> {
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?.checked_to_offset(UtcOffset::UTC)?;
    // The conversion to UTC can move the time into a year that RFC 3339 cannot express.
    (0..=9_999).contains(&moment.year()).then_some(moment)
}

/// Looks up the type by its name.
fn known_type(name: &str) -> Result<EventType, DecodeError> {
    name.parse().map_err(|_| DecodeError::UnknownType { name: printable(name) })
}

/// Returns true if a record is in structured mode. A CloudEvents content type decides alone, whatever the other headers
/// are. Otherwise a `ce_type` header means binary mode. Without either, a JSON object is a structured event, as people
/// type it and as Python's first SDK writes it (with the content type of the data in the header).
fn is_structured(all: RecordHeaders<'_>, value: &[u8]) -> Result<bool, DecodeError> {
    let media_type = all.media_type()?;
    if let Some(media_type) = &media_type {
        if media_type.is_structured()? {
            return Ok(true);
        }
        if !media_type.is_json() && !media_type.is_protobuf() {
            return Err(media_type.unknown());
        }
    }
    if all.has(headers::CE_TYPE) {
        return Ok(false);
    }
    if all.has_binary_attributes() {
        return Err(DecodeError::MissingType);
    }
    if payload::unframed(value)?.first() == Some(&b'{') { Ok(true) } else { Err(DecodeError::NotAnEvent) }
}
