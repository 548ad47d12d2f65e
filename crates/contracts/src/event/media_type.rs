//! Media types, reduced to the part that selects a decoder.

use crate::decode_error::DecodeError;
use crate::headers;
use crate::json::printable;

/// Prefix of every CloudEvents format in structured or batched mode.
const CLOUDEVENTS_PREFIX: &str = "application/cloudevents";
/// Prefix of a batch.
const CLOUDEVENTS_BATCH_PREFIX: &str = "application/cloudevents-batch";
/// Media types of protobuf, the older names included.
const PROTOBUF_NAMES: [&str; 3] =
    [headers::APPLICATION_PROTOBUF, "application/x-protobuf", "application/vnd.google.protobuf"];

/// A media type without its parameters, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MediaType(String);

impl MediaType {
    /// The media type in the text of a header or an attribute.
    pub(super) fn of(text: &str) -> Self {
        let essence = text.split(';').next().unwrap_or_default();
        Self(essence.trim().to_ascii_lowercase())
    }

    /// Returns true for JSON: `application/json`, or a type with the suffix `+json`.
    pub(super) fn is_json(&self) -> bool {
        self.0 == headers::APPLICATION_JSON || self.0.ends_with("+json")
    }

    /// Returns true for protobuf.
    pub(super) fn is_protobuf(&self) -> bool {
        PROTOBUF_NAMES.contains(&self.0.as_str())
    }

    /// Returns true for a CloudEvent in structured mode as JSON. Another CloudEvents format is an error that names it.
    pub(super) fn is_structured(&self) -> Result<bool, DecodeError> {
        if self.0 == headers::APPLICATION_CLOUDEVENTS_JSON {
            return Ok(true);
        }
        let name = || printable(&self.0);
        if self.0.starts_with(CLOUDEVENTS_BATCH_PREFIX) {
            return Err(DecodeError::Batch { name: name() });
        }
        if self.0.starts_with(CLOUDEVENTS_PREFIX) {
            return Err(DecodeError::UnknownFormat { name: name() });
        }
        Ok(false)
    }

    /// The error for an unsupported type.
    pub(super) fn unknown(&self) -> DecodeError {
        DecodeError::UnknownContentType { name: printable(&self.0) }
    }
}
