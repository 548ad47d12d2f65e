//! Why a record is not one of our events. Every case is poison: the same bytes will never read differently.

use crate::field::FieldError;
use crate::{Classify, ErrorClass, EventType, headers, topics};

/// Why a record was refused. The message says precisely what was wrong and repeats nothing of the payload; names
/// that came with the record (a type, a header, a field) are shortened and made printable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No bytes at all; they would read as a protobuf message of defaults.
    #[error("the value is empty")]
    EmptyValue,
    /// A value beyond the bound.
    #[error("the value has {bytes} bytes, more than {}", topics::RECORD_BYTES_MAX)]
    ValueTooLarge {
        /// How many it has.
        bytes: usize,
    },
    /// Too many headers.
    #[error("{count} headers, more than {}", headers::COUNT_MAX)]
    TooManyHeaders {
        /// How many there are.
        count: usize,
    },
    /// A header, or all together, beyond the bound.
    #[error("header `{name}` makes the headers too large")]
    HeaderTooLarge {
        /// Which one passed the bound.
        name: String,
    },
    /// A header that is not what its name promises.
    #[error("header `{name}` {problem}")]
    Header {
        /// Which one.
        name: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An attribute of a structured event that is not what its name promises.
    #[error("attribute `{name}` {problem}")]
    Attribute {
        /// Which one.
        name: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// CloudEvents headers without a type.
    #[error("there are CloudEvents headers but no `{}`", headers::CE_TYPE)]
    MissingType,
    /// Neither CloudEvents headers nor a JSON object.
    #[error("no `{}` header, and the value is not a JSON object", headers::CE_TYPE)]
    NotAnEvent,
    /// A type that is none of ours.
    #[error("unknown event type `{name}`")]
    UnknownType {
        /// The type, shortened.
        name: String,
    },
    /// A type on a topic that it does not travel on.
    #[error("`{event_type}` does not belong on `{topic}`")]
    WrongTopic {
        /// The type.
        event_type: EventType,
        /// The topic it was found on.
        topic: topics::Topic,
    },
    /// A content type that we do not read.
    #[error("unknown content type `{name}`")]
    UnknownContentType {
        /// The content type, shortened.
        name: String,
    },
    /// Several events in one record.
    #[error("`{name}` is a batch of CloudEvents: a record must carry exactly one event")]
    Batch {
        /// The content type, shortened.
        name: String,
    },
    /// A CloudEvent in a format that we do not read.
    #[error(
        "CloudEvents format `{name}` is not supported: only `{}` is",
        headers::APPLICATION_CLOUDEVENTS_JSON
    )]
    UnknownFormat {
        /// The content type, shortened.
        name: String,
    },
    /// A value that is not UTF-8 where JSON was promised.
    #[error("the value is not UTF-8")]
    NotUtf8,
    /// JSON that is not what it should be.
    #[error("{what}: {problem}")]
    Json {
        /// What was being read.
        what: &'static str,
        /// What was wrong, and where.
        problem: String,
    },
    /// A schema registry's frame that ends too early.
    #[error("the schema registry's frame ends too early")]
    Frame,
    /// Protobuf that does not read.
    #[error("{event_type}: {problem}")]
    Protobuf {
        /// The type it should have been.
        event_type: EventType,
        /// What was wrong.
        problem: String,
    },
    /// A well-formed message with a field that says nonsense.
    #[error("{event_type}: {problem}")]
    Field {
        /// The type.
        event_type: EventType,
        /// The field and what is wrong with it.
        problem: FieldError,
    },
}

impl Classify for DecodeError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Poison
    }
}
