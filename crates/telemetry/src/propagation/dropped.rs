//! Counts of unused trace headers, because a broken trace is otherwise hard to notice.

use crate::metric::{self, Metric};

/// Reason why a header was not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
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
}

impl Why {
    fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Oversized => "oversized",
            Self::NotText => "not_text",
            Self::Duplicate => "duplicate",
            Self::Conflict => "conflict",
        }
    }
}

/// The unused headers of one message, which are added to the metric on drop.
#[derive(Debug, Default)]
pub(super) struct Dropped(Vec<(&'static str, Why, u64)>);

impl Dropped {
    pub(super) fn note(&mut self, header: &'static str, why: Why) {
        match self.0.iter_mut().find(|(known, reason, _)| *known == header && *reason == why) {
            Some((_, _, count)) => *count += 1,
            None => self.0.push((header, why, 1)),
        }
    }

    #[cfg(test)]
    pub(super) fn is_noted(&self, header: &str, why: Why) -> bool {
        self.0.iter().any(|(known, reason, _)| *known == header && *reason == why)
    }
}

impl Drop for Dropped {
    fn drop(&mut self) {
        for (header, why, count) in &self.0 {
            metric::count(
                Metric::TraceHeadersDropped,
                *count,
                &[("header", header), ("reason", why.as_str())],
            );
        }
    }
}
