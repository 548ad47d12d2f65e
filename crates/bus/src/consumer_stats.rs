//! Figures of a consumer, readable from outside while it runs.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Figures of one consumer, updated by its owner. Each has its denominator: zero drops of zero records prove nothing.
#[derive(Debug, Default)]
pub struct ConsumerStats {
    in_flight_records: AtomicUsize,
    in_flight_records_peak: AtomicUsize,
    in_flight_bytes: AtomicUsize,
    in_flight_bytes_peak: AtomicUsize,
    ahead_peak: AtomicUsize,
    taken: AtomicU64,
    dropped: AtomicU64,
    pauses: AtomicU64,
    commits: AtomicU64,
    commits_failed: AtomicU64,
}

macro_rules! figures {
    ($($(#[$doc:meta])+ $name:ident: $type:ty;)+) => {
        $($(#[$doc])+ pub fn $name(&self) -> $type { self.$name.load(Ordering::Relaxed) })+
    };
}

impl ConsumerStats {
    figures! {
        /// Records in flight.
        in_flight_records: usize;
        /// Maximum number of records in flight so far.
        in_flight_records_peak: usize;
        /// Memory cost of the records in flight.
        in_flight_bytes: usize;
        /// Maximum of that cost so far.
        in_flight_bytes_peak: usize;
        /// Largest distance in records from a partition's frontier to its last delivered record, so far.
        ahead_peak: usize;
        /// Records taken into processing so far.
        taken: u64;
        /// Records dropped because they were redelivered, or because their partition is not assigned here.
        dropped: u64;
        /// Number of times that fetching was paused, for one partition or all: full budget, unreadable batch, or shutdown.
        pauses: u64;
        /// Commits that the broker confirmed.
        commits: u64;
        /// Commits that failed and were repeated. Some failures are normal around a rebalance.
        commits_failed: u64;
    }

    pub(crate) fn count_taken(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn set_in_flight(&self, records: usize, bytes: usize) {
        self.in_flight_records.store(records, Ordering::Relaxed);
        self.in_flight_bytes.store(bytes, Ordering::Relaxed);
        self.in_flight_records_peak.fetch_max(records, Ordering::Relaxed);
        self.in_flight_bytes_peak.fetch_max(bytes, Ordering::Relaxed);
    }

    pub(crate) fn observe_ahead(&self, records: usize) {
        self.ahead_peak.fetch_max(records, Ordering::Relaxed);
    }

    pub(crate) fn count_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_pause(&self) {
        self.pauses.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_commit(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_failed_commit(&self) {
        self.commits_failed.fetch_add(1, Ordering::Relaxed);
    }
}
