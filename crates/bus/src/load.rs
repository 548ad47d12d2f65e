//! What a consumer holds right now, for whoever watches it from outside.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Figures of one consumer, kept by its owner. Each with its denominator: nothing dropped of nothing taken proves nothing.
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
        /// Records in hand.
        records: usize;
        /// The most records that were ever in hand at once.
        records_peak: usize;
        /// What the records in hand cost.
        bytes: usize;
        /// The most that they ever cost at once.
        bytes_peak: usize;
        /// The most records, done or not, that any partition ever had from its first unfinished one on.
        ahead_peak: usize;
        /// Records taken in hand so far.
        taken: u64;
        /// Records dropped because they had come before, or belonged to nobody here.
        redelivered: u64;
        /// How often fetching had to rest, of all partitions or of one, because the budget was full.
        rests: u64;
        /// Commits that the broker confirmed.
        commits: u64;
        /// Commits that failed and were repeated; some around every rebalance.
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
