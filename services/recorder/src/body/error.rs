//! Error of opening a body.

use std::io;

use crate::protocol::envelope::EnvelopeError;

/// Error when a body cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The decompressed body exceeds the limit.
    #[error("the body is larger than {limit} bytes after decompression")]
    TooLarge {
        /// Limit in bytes.
        limit: usize,
    },
    /// One item exceeds the limit of its type.
    #[error("payload too large: the limit for {item_type} is {limit}")]
    ItemTooLarge {
        /// The item's type.
        item_type: String,
        /// Limit in bytes, or in items for sessions.
        limit: u64,
    },
    /// The parsed items together exceed the memory limit.
    #[error("payload too large: more than {limit} bytes of events, spans, logs and metrics")]
    TooMuchToRead {
        /// Limit in bytes.
        limit: usize,
    },
    /// The body does not match its content encoding.
    #[error("failed to decode the body: {0}")]
    Encoding(String),
    /// The body is not an event in the form that `/store/` accepts.
    #[error("the body is not an event: {0}")]
    Event(String),
    /// The body is not an export of OpenTelemetry in the format that its content type names.
    #[error("the body is not an OTLP export: {0}")]
    Otlp(String),
    /// The body is not an envelope.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
}

impl BodyError {
    /// Returns true when a smaller body would have been accepted.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::ItemTooLarge { .. } | Self::TooMuchToRead { .. })
    }
}

/// Returns the error of a decoder.
pub(super) fn undecodable(error: io::Error) -> BodyError {
    BodyError::Encoding(error.to_string())
}
