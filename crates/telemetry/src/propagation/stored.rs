//! A trace kept in a document, so that whoever publishes for a dead handler still does it in that handler's trace.

use opentelemetry::Context;
use serde::{Deserialize, Serialize};

use super::{BAGGAGE, TRACEPARENT};

/// `trace: {traceparent, baggage}` of a stored entry; both empty when there was no trace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredTrace {
    /// As in the header.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub traceparent: String,
    /// As in the header.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub baggage: String,
}

/// The current trace, to be stored.
pub fn capture() -> StoredTrace {
    let mut stored = StoredTrace::default();
    for (name, value) in super::headers_of(&Context::current()) {
        match name {
            TRACEPARENT => stored.traceparent = value,
            BAGGAGE => stored.baggage = value,
            _ => {}
        }
    }
    stored
}

impl StoredTrace {
    /// The context that continues it; pass it to [`crate::spans::continued`].
    pub fn context(&self) -> Context {
        let headers = [(TRACEPARENT, self.traceparent.as_bytes()), (BAGGAGE, self.baggage.as_bytes())];
        super::extract(headers.into_iter().filter(|(_, value)| !value.is_empty()))
    }

    /// Whether there was no trace.
    pub fn is_empty(&self) -> bool {
        self.traceparent.is_empty()
    }
}
