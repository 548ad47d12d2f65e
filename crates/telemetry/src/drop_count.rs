//! What was lost on the way out, counted by reason and category; every loss passes through [`lose`].
//!
//! The names are Sentry's own (client reports), so a loss reads the same in `/metrics`, in `telemetry::drops()` and in Sentry.
//! What the sampler chose not to record is reported to Sentry in the same way, and is no loss: it has a count of its own.

use std::sync::atomic::{AtomicU64, Ordering};

/// A closed list of names: an enum, all of it, and the text of each.
macro_rules! names {
    ($(#[doc = $about:literal])+ $list:ident { $($(#[doc = $help:literal])+ $variant:ident = $name:literal,)+ }) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $list { $($(#[doc = $help])+ $variant,)+ }

        impl $list {
            /// All of them, for iteration.
            pub const ALL: &'static [$list] = &[$($list::$variant,)+];

            /// The name in counters and reports.
            pub const fn as_str(self) -> &'static str {
                match self { $($list::$variant => $name,)+ }
            }

            pub(crate) fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.as_str() == name)
            }
        }
    };
}

names! {
    /// Why something was lost.
    Reason {
        /// A queue on the way out was full.
        QueueOverflow = "queue_overflow",
        /// More spans than one transaction may hold, or than may be open at once.
        BufferOverflow = "buffer_overflow",
        /// Sentry had asked us to wait.
        RatelimitBackoff = "ratelimit_backoff",
        /// Sentry refused this very envelope with 429; Sentry counts these itself, so they are not reported to it again.
        RatelimitedByServer = "ratelimited_by_server",
        /// Sentry could not be reached, or not in time.
        NetworkError = "network_error",
        /// Sentry answered with an error (400, 413, 500, …).
        SendError = "send_error",
        /// Still queued when the process had to stop.
        Shutdown = "shutdown",
        /// It could not be written as JSON.
        InternalSdkError = "internal_sdk_error",
        /// The sampler did not record it.
        SampleRate = "sample_rate",
        /// A hook of the SDK dropped it.
        EventProcessor = "event_processor",
        /// The SDK's `before_send` dropped it.
        BeforeSend = "before_send",
        /// The SDK's cache was full.
        CacheOverflow = "cache_overflow",
        /// The SDK sampled less because the system was busy.
        Backpressure = "backpressure",
        /// The SDK found too little in it.
        InsufficientData = "insufficient_data",
        /// The SDK was told to ignore it.
        Ignored = "ignored",
        /// The SDK found it malformed.
        Invalid = "invalid",
    }
}

names! {
    /// What was lost, in Sentry's data categories.
    Category {
        /// An error event.
        Error = "error",
        /// A transaction.
        Transaction = "transaction",
        /// A span (a transaction counts as one more).
        Span = "span",
        /// A log line.
        LogItem = "log_item",
        /// Bytes of log lines.
        LogByte = "log_byte",
        /// A metric.
        TraceMetric = "trace_metric",
        /// Bytes of metrics.
        TraceMetricByte = "trace_metric_byte",
        /// A session.
        Session = "session",
        /// An attachment, in bytes.
        Attachment = "attachment",
        /// A check-in.
        Monitor = "monitor",
        /// What a user wrote.
        Feedback = "feedback",
        /// A profile.
        Profile = "profile",
        /// A part of a continuous profile.
        ProfileChunk = "profile_chunk",
        /// A session replay.
        Replay = "replay",
        /// Anything else.
        Default = "default",
    }
}

impl Reason {
    /// The name in a client report; `None` where Sentry wants no report.
    pub(crate) fn reported_as(self) -> Option<&'static str> {
        match self {
            Reason::RatelimitedByServer => None,
            Reason::Shutdown => Some(Reason::QueueOverflow.as_str()),
            other => Some(other.as_str()),
        }
    }

    /// Whether it is a loss, and not what was asked for.
    pub(crate) fn is_loss(self) -> bool {
        self != Reason::SampleRate
    }
}

impl Category {
    /// Few, small and not repeated by anything: these go out first, and nothing else takes their room.
    pub(crate) fn goes_first(self) -> bool {
        matches!(self, Category::Error | Category::Monitor | Category::Session | Category::Feedback)
    }
}

/// A loss, about to be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drop {
    /// Why.
    pub reason: Reason,
    /// What.
    pub category: Category,
    /// How many.
    pub quantity: u64,
}

const CELLS: usize = Reason::ALL.len() * Category::ALL.len();
static LOST: [AtomicU64; CELLS] = [const { AtomicU64::new(0) }; CELLS];
static UNREPORTED: [AtomicU64; CELLS] = [const { AtomicU64::new(0) }; CELLS];

fn cell(reason: Reason, category: Category) -> usize {
    (reason as usize) * Category::ALL.len() + category as usize
}

/// Counts a loss, and notes it for the next client report.
pub(crate) fn lose(reason: Reason, category: Category, quantity: u64) {
    LOST[cell(reason, category)].fetch_add(quantity, Ordering::Relaxed);
    note(Drop { reason, category, quantity });
}

/// Counts a loss that somebody else names. A name that is not known here does not vanish: it is counted under the widest one.
pub(crate) fn lose_named(reason: &str, category: &str, quantity: u64) {
    let reason = Reason::from_name(reason).unwrap_or(Reason::InternalSdkError);
    lose(reason, Category::from_name(category).unwrap_or(Category::Default), quantity);
}

/// Notes a loss for the next client report without counting it again (the report itself was lost).
pub(crate) fn note(drop: Drop) {
    if drop.reason.reported_as().is_some() {
        UNREPORTED[cell(drop.reason, drop.category)].fetch_add(drop.quantity, Ordering::Relaxed);
    }
}

/// What is to be reported; the caller reports it or notes it again.
pub(crate) fn take_unreported() -> Vec<Drop> {
    each_cell(|reason, category| UNREPORTED[cell(reason, category)].swap(0, Ordering::Relaxed))
}

/// Whether something was lost that nobody was told of. What was only sampled out can wait for company.
pub(crate) fn is_loss_unreported() -> bool {
    let cells = cells().filter(|(reason, _)| reason.is_loss());
    cells.into_iter().any(|(reason, category)| UNREPORTED[cell(reason, category)].load(Ordering::Relaxed) > 0)
}

fn cells() -> impl Iterator<Item = (Reason, Category)> {
    let of = |reason: Reason| Category::ALL.iter().map(move |category| (reason, *category));
    Reason::ALL.iter().copied().flat_map(of)
}

fn each_cell(read: impl Fn(Reason, Category) -> u64) -> Vec<Drop> {
    cells()
        .map(|(reason, category)| Drop { reason, category, quantity: read(reason, category) })
        .filter(|drop| drop.quantity > 0)
        .collect()
}

/// How much was lost since the start, by reason, in items of any category (spans included, bytes not). Empty when nothing was.
pub fn drops() -> Vec<(&'static str, u64)> {
    let is_item = |category: Category| !matches!(category, Category::LogByte | Category::TraceMetricByte);
    let of = |reason: Reason| -> u64 {
        Category::ALL.iter().filter(|c| is_item(**c)).map(|c| lost(reason, *c)).sum()
    };
    let losses = Reason::ALL.iter().filter(|reason| reason.is_loss());
    losses.map(|reason| (reason.as_str(), of(*reason))).filter(|(_, count)| *count > 0).collect()
}

/// The same, one entry per reason and category, bytes included.
pub fn drops_by_category() -> Vec<Drop> {
    each_cell(lost).into_iter().filter(|drop| drop.reason.is_loss()).collect()
}

/// What the sampler chose not to record since the start: transactions and spans.
pub fn sampled_out() -> Vec<Drop> {
    each_cell(lost).into_iter().filter(|drop| !drop.reason.is_loss()).collect()
}

fn lost(reason: Reason, category: Category) -> u64 {
    LOST[cell(reason, category)].load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_sdk_names_keeps_its_reason_and_nothing_vanishes() {
        let before = |reason, category| lost(reason, category);
        let known = before(Reason::BeforeSend, Category::Replay);
        let unknown = before(Reason::InternalSdkError, Category::Default);
        lose_named("before_send", "replay", 3);
        lose_named("a_reason_to_come", "a_category_to_come", 2);
        assert_eq!(before(Reason::BeforeSend, Category::Replay), known + 3);
        assert_eq!(before(Reason::InternalSdkError, Category::Default), unknown + 2);
    }

    #[test]
    fn names_are_read_back() {
        assert!(Reason::ALL.iter().all(|reason| Reason::from_name(reason.as_str()) == Some(*reason)));
        assert!(Category::ALL.iter().all(|known| Category::from_name(known.as_str()) == Some(*known)));
    }
}
