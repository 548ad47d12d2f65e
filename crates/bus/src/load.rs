//! Load figures of a consumer, readable from outside while it runs.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Figures of one consumer, updated by its owner. Each has its denominator: zero drops of zero records prove nothing.
#[derive(Debug, Default)]
pub struct Load {
    records: AtomicUsize,
    records_peak: AtomicUsize,
    bytes: AtomicUsize,
    bytes_peak: AtomicUsize,
    ahead_peak: AtomicUsize,
    taken: AtomicU64,
    redelivered: AtomicU64,
    rests: AtomicU64,
    commits: AtomicU64,
    commits_failed: AtomicU64,
}

macro_rules! figures {
    ($($(#[$doc:meta])+ $name:ident: $type:ty;)+) => {
        $($(#[$doc])+ pub fn $name(&self) -> $type { self.$name.load(Ordering::Relaxed) })+
    };
}

impl Load {
    figures! {
        /// Records in flight.
        records: usize;
        /// Maximum number of records in flight so far.
        records_peak: usize;
        /// Memory cost of the records in flight, in bytes.
        bytes: usize;
        /// Maximum of that cost so far.
        bytes_peak: usize;
        /// Maximum number of records, done or not, from a partition's first unfinished one to its last delivered one.
        ahead_peak: usize;
        /// Records taken into processing so far.
        taken: u64;
        /// Records dropped because they were redelivered, or because their partition is not assigned here.
        redelivered: u64;
        /// Number of times that fetching was paused, for one partition or all: full budget, unreadable batch, or shutdown.
        rests: u64;
        /// Commits that the broker confirmed.
        commits: u64;
        /// Commits that failed and were repeated. Some failures are normal around a rebalance.
        commits_failed: u64;
    }

    pub(crate) fn took(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn holds(&self, records: usize, bytes: usize) {
        self.records.store(records, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
        self.records_peak.fetch_max(records, Ordering::Relaxed);
        self.bytes_peak.fetch_max(bytes, Ordering::Relaxed);
    }

    pub(crate) fn is_ahead(&self, records: usize) {
        self.ahead_peak.fetch_max(records, Ordering::Relaxed);
    }

    pub(crate) fn dropped(&self) {
        self.redelivered.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn rested(&self) {
        self.rests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn committed(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn commit_failed(&self) {
        self.commits_failed.fetch_add(1, Ordering::Relaxed);
    }
}
