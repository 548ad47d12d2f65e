//! Reasons to refuse a record. Every one is poison, because the same bytes always decode to the same result.

use crate::field::FieldError;
use crate::{Classify, ErrorClass, EventType, headers, topics};

/// Reason why a record was refused. The text names the exact problem and contains nothing of the payload. Names from
/// the record (a type, a header, a field) are shortened and made printable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No bytes at all, which would decode as a protobuf message of defaults.
    #[error("the value is empty")]
    EmptyValue,
    /// A value larger than [`topics::RECORD_BYTES_MAX`].
    #[error("the value has {bytes} bytes, more than {}", topics::RECORD_BYTES_MAX)]
    ValueTooLarge {
        /// Size of the value.
        bytes: usize,
    },
    /// More headers than [`headers::COUNT_MAX`].
    #[error("{count} headers, more than {}", headers::COUNT_MAX)]
    TooManyHeaders {
        /// Number of headers.
        count: usize,
    },
    /// One header that is too large, or all headers together.
    #[error("header `{name}` makes the headers too large")]
    HeaderTooLarge {
        /// Name of the header that exceeded the limit.
        name: String,
    },
    /// A header with an invalid value.
    #[error("header `{name}` {problem}")]
    Header {
        /// Name of the header.
        name: &'static str,
        /// The problem.
        problem: &'static str,
    },
    /// An attribute of a structured event with an invalid value.
    #[error("attribute `{name}` {problem}")]
    Attribute {
        /// Name of the attribute.
        name: &'static str,
        /// The problem.
        problem: &'static str,
    },
    /// CloudEvents headers without a type.
    #[error("there are CloudEvents headers but no `{}`", headers::CE_TYPE)]
    MissingType,
    /// Neither CloudEvents headers nor a JSON object.
    #[error("no `{}` header, and the value is not a JSON object", headers::CE_TYPE)]
    NotAnEvent,
    /// A type that is not in [`EventType`].
    #[error("unknown event type `{name}`")]
    UnknownType {
        /// The type, shortened.
        name: String,
    },
    /// A type on a topic other than [`EventType::topic`].
    #[error("`{event_type}` does not belong on `{topic}`")]
    WrongTopic {
        /// The type.
        event_type: EventType,
        /// The topic of the record.
        topic: topics::Topic,
    },
    /// A content type that the decoder does not support.
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
    /// A CloudEvent in a format that the decoder does not support.
    #[error(
        "CloudEvents format `{name}` is not supported: only `{}` is",
        headers::APPLICATION_CLOUDEVENTS_JSON
    )]
    UnknownFormat {
        /// The content type, shortened.
        name: String,
    },
    /// A value that is not UTF-8 although it must be JSON.
    #[error("the value is not UTF-8")]
    NotUtf8,
    /// Invalid JSON, or JSON that does not match the message.
    #[error("{what}: {problem}")]
    Json {
        /// The document: the structured event, or the message's type.
        what: &'static str,
        /// The problem and its position.
        problem: String,
    },
    /// A schema registry's frame that ends too early.
    #[error("the schema registry's frame ends too early")]
    Frame,
    /// Invalid protobuf.
    #[error("{event_type}: {problem}")]
    Protobuf {
        /// The expected type.
        event_type: EventType,
        /// The problem.
        problem: String,
    },
    /// A well-formed message with an invalid field.
    #[error("{event_type}: {problem}")]
    Field {
        /// The type.
        event_type: EventType,
        /// The field and its problem.
        problem: FieldError,
    },
}

impl Classify for DecodeError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Poison
    }
}
