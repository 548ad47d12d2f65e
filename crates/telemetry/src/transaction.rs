//! A complete transaction with its share of the memory budget, and its two encodings for Sentry: as a transaction, or as the
//! streamed spans of a segment.

pub(crate) mod encode;
mod item;
pub(crate) mod parts;
pub(crate) mod stream;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};

use opentelemetry_sdk::trace::SpanData;

use crate::profiler::Profile;
use crate::sampling_context::SharedContext;

/// A complete transaction for the writer.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) root: SpanData,
    pub(crate) children: Vec<SpanData>,
    pub(crate) dsc: SharedContext,
    /// The CPU profile of the transaction, if one was recorded.
    pub(crate) profile: Option<Box<Profile>>,
    /// It is not sent, and counts as sampled out.
    pub(crate) discarded: bool,
    /// Releases the spans' memory budget after the transaction is written.
    pub(crate) _live: LiveSpans,
}

/// Limit of all spans that are open, stored or waiting for the writer, at about a kilobyte each.
pub(crate) const LIVE_SPANS_MAX: usize = 8_192;

/// A share of the [`LIVE_SPANS_MAX`] budget, released on drop.
#[derive(Debug, Default)]
pub(crate) struct LiveSpans(usize);

static LIVE: AtomicUsize = AtomicUsize::new(0);

impl LiveSpans {
    pub(crate) fn take_one() -> Option<Self> {
        let taken = LIVE
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < LIVE_SPANS_MAX).then_some(n + 1));
        taken.is_ok().then_some(Self(1))
    }

    pub(crate) fn absorb(&mut self, mut other: Self) {
        self.0 += std::mem::take(&mut other.0);
    }
}

impl Drop for LiveSpans {
    fn drop(&mut self) {
        LIVE.fetch_sub(self.0, Ordering::Relaxed);
    }
}
