//! The trace lifecycle of this process: the form in which its spans are sent.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use crate::drop_count::{Category, Reason, lose};

/// Form in which spans are sent to Sentry. Its names are those of Sentry's option `traceLifecycle`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase", try_from = "String")]
pub enum TraceLifecycle {
    /// Each local root with its spans is a transaction, in an envelope of its own.
    #[default]
    Static,
    /// Spans are items of their own. Those of one trace that end at nearly the same time share an envelope.
    Stream,
}

impl TraceLifecycle {
    /// The name in settings and in the attribute `sentry.trace_lifecycle`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Stream => "stream",
        }
    }
}

impl TryFrom<String> for TraceLifecycle {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        let known = [Self::Static, Self::Stream].into_iter().find(|known| known.as_str() == name);
        known.ok_or("it is not static or stream")
    }
}

static IS_STREAMED: AtomicBool = AtomicBool::new(false);

/// Sets the lifecycle of the process. Telemetry sets it once, before the first span.
pub(crate) fn set(lifecycle: TraceLifecycle) {
    IS_STREAMED.store(lifecycle == TraceLifecycle::Stream, Ordering::Relaxed);
}

/// Returns true if spans are streamed.
pub(crate) fn is_streamed() -> bool {
    IS_STREAMED.load(Ordering::Relaxed)
}

/// Counts a lost transaction, without its spans. Streamed spans have none, and Sentry counts only the spans.
pub(crate) fn lose_transaction(reason: Reason) {
    if !is_streamed() {
        lose(reason, Category::Transaction, 1);
    }
}
