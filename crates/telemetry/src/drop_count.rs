//! What was lost on the way out, counted by reason and category; every loss passes through [`lose`].
//!
//! The names are Sentry's own (client reports), so a loss reads the same in `/metrics`, in `telemetry::drops()` and in Sentry.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why something was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// A queue on the way out was full.
    QueueOverflow,
    /// More spans than one transaction may hold, or than may be open at once.
    BufferOverflow,
    /// Sentry had asked us to wait.
    RatelimitBackoff,
    /// Sentry refused this very envelope with 429; Sentry counts these itself, so they are not reported to it again.
    RatelimitedByServer,
    /// Sentry could not be reached, or not in time.
    NetworkError,
    /// Sentry answered with an error (400, 413, 500, …).
    SendError,
    /// Still queued when the process had to stop.
    Shutdown,
    /// It could not be written as JSON.
    InternalSdkError,
    /// A hook of the SDK dropped it.
    Filtered,
}

/// What was lost, in Sentry's data categories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Category {
    /// An error event.
    Error,
    /// A transaction.
    Transaction,
    /// A span (a transaction counts as one more).
    Span,
    /// A log line.
    LogItem,
    /// A metric.
    TraceMetric,
    /// A session.
    Session,
    /// An attachment, in bytes.
    Attachment,
    /// A check-in.
    Monitor,
    /// Anything else.
    Default,
}

impl Reason {
    /// All of them, for iteration.
    pub const ALL: [Reason; 9] = [
        Reason::QueueOverflow,
        Reason::BufferOverflow,
        Reason::RatelimitBackoff,
        Reason::RatelimitedByServer,
        Reason::NetworkError,
        Reason::SendError,
        Reason::Shutdown,
        Reason::InternalSdkError,
        Reason::Filtered,
    ];

    /// The name in counters.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::QueueOverflow => "queue_overflow",
            Reason::BufferOverflow => "buffer_overflow",
            Reason::RatelimitBackoff => "ratelimit_backoff",
            Reason::RatelimitedByServer => "ratelimited_by_server",
            Reason::NetworkError => "network_error",
            Reason::SendError => "send_error",
            Reason::Shutdown => "shutdown",
            Reason::InternalSdkError => "internal_sdk_error",
            Reason::Filtered => "event_processor",
        }
    }

    /// The name in a client report; `None` where Sentry wants no report.
    pub(crate) fn reported_as(self) -> Option<&'static str> {
        match self {
            Reason::RatelimitedByServer => None,
            Reason::Shutdown => Some("queue_overflow"),
            other => Some(other.as_str()),
        }
    }
}

impl Category {
    /// All of them, for iteration.
    pub const ALL: [Category; 9] = [
        Category::Error,
        Category::Transaction,
        Category::Span,
        Category::LogItem,
        Category::TraceMetric,
        Category::Session,
        Category::Attachment,
        Category::Monitor,
        Category::Default,
    ];

    /// Sentry's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Category::Error => "error",
            Category::Transaction => "transaction",
            Category::Span => "span",
            Category::LogItem => "log_item",
            Category::TraceMetric => "trace_metric",
            Category::Session => "session",
            Category::Attachment => "attachment",
            Category::Monitor => "monitor",
            Category::Default => "default",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|category| category.as_str() == name)
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

fn each_cell(read: impl Fn(Reason, Category) -> u64) -> Vec<Drop> {
    let cells = Reason::ALL
        .into_iter()
        .flat_map(|reason| Category::ALL.into_iter().map(move |category| (reason, category)));
    cells
        .map(|(reason, category)| Drop { reason, category, quantity: read(reason, category) })
        .filter(|drop| drop.quantity > 0)
        .collect()
}

/// How much was lost since the start, by reason, in items of any category (spans included). Empty when nothing was.
pub fn drops() -> Vec<(&'static str, u64)> {
    Reason::ALL
        .into_iter()
        .map(|reason| {
            (reason.as_str(), Category::ALL.into_iter().map(|category| lost(reason, category)).sum())
        })
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// The same, one entry per reason and category.
pub fn drops_by_category() -> Vec<Drop> {
    each_cell(lost)
}

fn lost(reason: Reason, category: Category) -> u64 {
    LOST[cell(reason, category)].load(Ordering::Relaxed)
}
