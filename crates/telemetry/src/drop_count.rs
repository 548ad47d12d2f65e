//! Counters of telemetry that was lost on its way to Sentry, by reason and category. Every loss passes through [`lose`].
//!
//! The names are those of Sentry's client reports, so a loss has the same name in `/metrics`, in `telemetry::drops()` and in
//! Sentry. What the sampler excluded is reported to Sentry in the same way, but has its own counter because it is not a loss.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Declares a closed list of names: an enum, all its variants, and the text of each.
macro_rules! names {
    ($(#[doc = $about:literal])+ $list:ident { $($(#[doc = $help:literal])+ $variant:ident = $name:literal,)+ }) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $list { $($(#[doc = $help])+ $variant,)+ }

        impl $list {
            /// All variants.
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
    /// Reason of a loss.
    Reason {
        /// A queue on the way to Sentry was full.
        QueueOverflow = "queue_overflow",
        /// More spans than one transaction may hold, or than may be open at once.
        BufferOverflow = "buffer_overflow",
        /// A rate limit of Sentry was in force.
        RatelimitBackoff = "ratelimit_backoff",
        /// Sentry refused this envelope with 429. Sentry counts these itself, so they are not in a client report.
        RatelimitedByServer = "ratelimited_by_server",
        /// Sentry could not be reached or did not respond in time.
        NetworkError = "network_error",
        /// Sentry responded with an error (400, 413, 500, …).
        SendError = "send_error",
        /// Still open, queued or in flight at the shutdown of the process.
        Shutdown = "shutdown",
        /// It could not be written as JSON, or the SDK reported an unknown reason.
        InternalSdkError = "internal_sdk_error",
        /// The sampler did not record it, or it was discarded later for the same reason.
        SampleRate = "sample_rate",
        /// A hook of the SDK dropped it, or it could not be parsed for scrubbing.
        EventProcessor = "event_processor",
        /// The SDK's `before_send` dropped it.
        BeforeSend = "before_send",
        /// The SDK's cache was full.
        CacheOverflow = "cache_overflow",
        /// The SDK sampled less because the system was busy.
        Backpressure = "backpressure",
        /// The SDK found too little data in it.
        InsufficientData = "insufficient_data",
        /// The SDK is configured to ignore it.
        Ignored = "ignored",
        /// The SDK found it malformed.
        Invalid = "invalid",
    }
}

names! {
    /// Kind of the lost data, in Sentry's data categories.
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
        /// Feedback from a user.
        Feedback = "feedback",
        /// A profile.
        Profile = "profile",
        /// A part of a continuous profile.
        ProfileChunk = "profile_chunk",
        /// A session replay.
        Replay = "replay",
        /// Any other data.
        Default = "default",
    }
}

impl Reason {
    /// The name in a client report, or `None` if Sentry wants no report.
    pub(crate) fn reported_as(self) -> Option<&'static str> {
        match self {
            Reason::RatelimitedByServer => None,
            Reason::Shutdown => Some(Reason::QueueOverflow.as_str()),
            other => Some(other.as_str()),
        }
    }

    /// Returns true for a real loss, and false for sampling, which was configured.
    pub(crate) fn is_loss(self) -> bool {
        self != Reason::SampleRate
    }
}

impl Category {
    /// Returns true for categories with priority. They are few, small and irreplaceable, and have a separate queue.
    pub(crate) fn goes_first(self) -> bool {
        matches!(self, Category::Error | Category::Monitor | Category::Session | Category::Feedback)
    }

    /// The category in which Sentry counts the bytes of this one. Its quotas of logs and metrics are in bytes.
    pub(crate) fn in_bytes(self) -> Option<Self> {
        match self {
            Category::LogItem => Some(Category::LogByte),
            Category::TraceMetric => Some(Category::TraceMetricByte),
            _ => None,
        }
    }
}

/// One loss or a sum of losses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drop {
    /// Reason of the loss.
    pub reason: Reason,
    /// Kind of the lost data.
    pub category: Category,
    /// Number of lost items or bytes.
    pub quantity: u64,
}

const CELLS: usize = Reason::ALL.len() * Category::ALL.len();
static LOST: [AtomicU64; CELLS] = [const { AtomicU64::new(0) }; CELLS];
static UNREPORTED: [AtomicU64; CELLS] = [const { AtomicU64::new(0) }; CELLS];
/// Something was noted since the last report. The sender asks for each envelope, and looking at all cells each time would cost more
/// than anything else that it does in between.
static IS_NOTED: AtomicBool = AtomicBool::new(false);
/// A real loss was noted since the last report.
static IS_LOSS_NOTED: AtomicBool = AtomicBool::new(false);

fn cell(reason: Reason, category: Category) -> usize {
    (reason as usize) * Category::ALL.len() + category as usize
}

/// Counts a loss, and notes it for the next client report.
pub(crate) fn lose(reason: Reason, category: Category, quantity: u64) {
    LOST[cell(reason, category)].fetch_add(quantity, Ordering::Relaxed);
    note(Drop { reason, category, quantity });
}

/// Counts a loss that the SDK reported by name. An unknown name is counted under the most general one.
pub(crate) fn lose_named(reason: &str, category: &str, quantity: u64) {
    let reason = Reason::from_name(reason).unwrap_or(Reason::InternalSdkError);
    lose(reason, Category::from_name(category).unwrap_or(Category::Default), quantity);
}

/// Notes a loss for the next client report without counting it again, because an earlier report was lost.
pub(crate) fn note(drop: Drop) {
    if drop.reason.reported_as().is_none() {
        return;
    }
    UNREPORTED[cell(drop.reason, drop.category)].fetch_add(drop.quantity, Ordering::Relaxed);
    // After the cell, so that a report that finds a flag set finds the number, too
    if drop.reason.is_loss() {
        IS_LOSS_NOTED.store(true, Ordering::Release);
    }
    IS_NOTED.store(true, Ordering::Release);
}

/// Takes the losses for the next client report. The caller must report them or [`note`] them again.
pub(crate) fn take_unreported() -> Vec<Drop> {
    // Before the cells, so that what is noted meanwhile is found now or sets the flag again
    if !IS_NOTED.swap(false, Ordering::AcqRel) {
        return Vec::new();
    }
    IS_LOSS_NOTED.swap(false, Ordering::AcqRel);
    each_cell(|reason, category| UNREPORTED[cell(reason, category)].swap(0, Ordering::Relaxed))
}

/// Returns true if there are unreported losses. Sampling alone does not count, because its report is less urgent.
pub(crate) fn is_loss_unreported() -> bool {
    IS_LOSS_NOTED.load(Ordering::Acquire)
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

/// Losses since the start by reason, in items of all categories (spans included, bytes not). Reasons without losses are absent.
pub fn drops() -> Vec<(&'static str, u64)> {
    let is_item = |category: Category| !matches!(category, Category::LogByte | Category::TraceMetricByte);
    let of = |reason: Reason| -> u64 {
        Category::ALL.iter().filter(|c| is_item(**c)).map(|c| lost(reason, *c)).sum()
    };
    let losses = Reason::ALL.iter().filter(|reason| reason.is_loss());
    losses.map(|reason| (reason.as_str(), of(*reason))).filter(|(_, count)| *count > 0).collect()
}

/// Losses since the start by reason and category, bytes included.
pub fn drops_by_category() -> Vec<Drop> {
    each_cell(lost).into_iter().filter(|drop| drop.reason.is_loss()).collect()
}

/// Transactions and spans that the sampler excluded since the start.
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
    fn sdk_reason_is_kept_and_unknown_is_counted() {
        let before = |reason, category| lost(reason, category);
        let known = before(Reason::BeforeSend, Category::Replay);
        let unknown = before(Reason::InternalSdkError, Category::Default);
        lose_named("before_send", "replay", 3);
        lose_named("a_reason_to_come", "a_category_to_come", 2);
        assert_eq!(before(Reason::BeforeSend, Category::Replay), known + 3);
        assert_eq!(before(Reason::InternalSdkError, Category::Default), unknown + 2);
    }

    #[test]
    fn noted_losses_are_taken_once() {
        let replays = Drop { reason: Reason::Backpressure, category: Category::Replay, quantity: 3 };
        let excluded = Drop { reason: Reason::SampleRate, category: Category::Replay, quantity: 5 };
        note(excluded);
        note(replays);
        assert!(is_loss_unreported(), "the sampler alone would be no loss");
        let taken = take_unreported();
        assert!(taken.contains(&replays) && taken.contains(&excluded), "{taken:?}");
        let of_replays =
            |drop: &Drop| drop.category == Category::Replay && drop.reason == Reason::Backpressure;
        assert!(!take_unreported().iter().any(of_replays));
        note(replays);
        assert!(take_unreported().contains(&replays), "also after a report");
    }

    #[test]
    fn reasons_and_categories_of_the_sdk_are_known() {
        use sentry::protocol::client_report::{Category as Lost, Reason as Why};
        let reasons = [
            Why::SendError,
            Why::InternalSdkError,
            Why::NetworkError,
            Why::RatelimitBackoff,
            Why::QueueOverflow,
            Why::BufferOverflow,
            Why::EventProcessor,
            Why::BeforeSend,
            Why::SampleRate,
        ];
        let categories = [
            Lost::Error,
            Lost::Session,
            Lost::Transaction,
            Lost::Span,
            Lost::Attachment,
            Lost::Monitor,
            Lost::LogItem,
            Lost::LogByte,
            Lost::TraceMetric,
            Lost::TraceMetricByte,
        ];
        let text = |value: serde_json::Value| value.as_str().map(str::to_owned).unwrap();
        for reason in reasons.map(|reason| text(serde_json::to_value(reason).unwrap())) {
            assert_eq!(Reason::from_name(&reason).map(Reason::as_str), Some(reason.as_str()));
        }
        for category in categories.map(|category| text(serde_json::to_value(category).unwrap())) {
            assert_eq!(Category::from_name(&category).map(Category::as_str), Some(category.as_str()));
        }
    }

    #[test]
    fn names_parse_back() {
        assert!(Reason::ALL.iter().all(|reason| Reason::from_name(reason.as_str()) == Some(*reason)));
        assert!(Category::ALL.iter().all(|known| Category::from_name(known.as_str()) == Some(*known)));
    }
}
