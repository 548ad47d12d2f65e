//! A trace stored in a document, so that a relay for a dead handler publishes in that handler's trace.

use opentelemetry::Context;
use serde::{Deserialize, Serialize};

use super::{BAGGAGE, TRACEPARENT};

/// `trace: {traceparent, baggage}` of a stored entry. Without a trace `traceparent` is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredTrace {
    /// The header's value.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub traceparent: String,
    /// The header's value.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub baggage: String,
}

/// Captures the current trace for storage.
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
    /// The context that continues the trace, for [`crate::spans::continued`].
    pub fn context(&self) -> Context {
        let headers = [(TRACEPARENT, self.traceparent.as_bytes()), (BAGGAGE, self.baggage.as_bytes())];
        super::extract(headers.into_iter().filter(|(_, value)| !value.is_empty()))
    }

    /// Returns true if there is no trace.
    pub fn is_empty(&self) -> bool {
        self.traceparent.is_empty()
    }
}
