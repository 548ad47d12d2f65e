//! Counts of unused trace headers, because a broken trace is otherwise hard to notice.

use crate::metric::{self, Metric};

/// Reason why a header was not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DropReason {
    /// It violates its specification: cut, upper case, all zero, not a list.
    Malformed,
    /// It is longer than the limit.
    Oversized,
    /// It is not text.
    NotText,
    /// A later header of the same name counts.
    Duplicate,
    /// Another header with precedence names another trace.
    Conflict,
    /// Another header with precedence decides otherwise whether the same trace is sampled.
    Sampling,
}

impl DropReason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Oversized => "oversized",
            Self::NotText => "not_text",
            Self::Duplicate => "duplicate",
            Self::Conflict => "conflict",
            Self::Sampling => "sampling",
        }
    }
}

/// The unused headers of one message, which are added to the metric on drop.
#[derive(Debug, Default)]
pub(super) struct Dropped(Vec<(&'static str, DropReason, u64)>);

impl Dropped {
    pub(super) fn record(&mut self, header: &'static str, reason: DropReason) {
        match self.0.iter_mut().find(|(known, known_reason, _)| *known == header && *known_reason == reason) {
            Some((_, _, count)) => *count += 1,
            None => self.0.push((header, reason, 1)),
        }
    }

    #[cfg(test)]
    pub(super) fn is_recorded(&self, header: &str, reason: DropReason) -> bool {
        self.0.iter().any(|(known, known_reason, _)| *known == header && *known_reason == reason)
    }
}

impl Drop for Dropped {
    fn drop(&mut self) {
        for (header, reason, count) in &self.0 {
            metric::count(
                Metric::TraceHeadersDropped,
                *count,
                &[("header", header), ("reason", reason.as_str())],
            );
        }
    }
}
