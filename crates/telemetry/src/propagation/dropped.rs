//! Trace headers that were not used, counted: nobody sees a trace that fell apart, unless somebody counts.

use crate::metric::{self, Metric};

/// Why a header was not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Not what its specification says: cut, upper case, all zero, not a list.
    Malformed,
    /// Longer than is looked at.
    Oversized,
    /// Not text.
    NotText,
    /// A later header of the same name counts.
    Duplicate,
    /// Another header names another trace, and goes before.
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

/// What was dropped while the headers of one message were read.
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
