//! What is durable, shared by the writer, the indexer and everyone who asks.
//!
//! The writer leaves the digests of what it wrote here, so that the indexer need not read and parse it again. The shelf
//! is bounded: when the indexer lags, digests are dropped and it reads the segments instead.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::protocol::digest::Digest;

/// Rows that wait for the indexer, in digests.
const SHELF_ROWS_MAX: usize = 16_384;

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// First `seq` of its segment.
    pub segment: u64,
    /// Where it begins in the file.
    pub offset: u64,
    /// How many bytes it takes, head included.
    pub bytes: u64,
}

/// A durable envelope, as the index wants it.
#[derive(Clone, Debug)]
pub struct Indexed {
    /// Its place in the order of arrival.
    pub seq: u64,
    /// When it arrived, in microseconds since the epoch.
    pub received_at_us: u64,
    /// Numeric id of the project.
    pub project: u32,
    /// Where its bytes are.
    pub place: Place,
    /// What the index keeps of it.
    pub digest: Digest,
}

/// Numbers about the journal.
#[derive(Clone, Copy, Debug, Default)]
pub struct State {
    /// The last `seq` that cannot be lost.
    pub durable: u64,
    /// The first `seq` that was not deleted.
    pub floor: u64,
    /// Bytes in all segments.
    pub bytes: u64,
    /// True once the disk failed to synchronise.
    pub failed: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: State,
    shelf: VecDeque<Indexed>,
    shelf_rows: usize,
    /// Somebody waits for the index to catch up.
    demand: bool,
    closed: bool,
}

impl Shared {
    fn drop_first(&mut self) -> Option<Indexed> {
        let first = self.shelf.pop_front()?;
        self.shelf_rows -= rows(&first);
        Some(first)
    }
}

fn rows(indexed: &Indexed) -> usize {
    1 + indexed.digest.parts.len() + indexed.digest.errors.len() + indexed.digest.releases.len()
}

/// The shared progress.
#[derive(Debug)]
pub struct Progress {
    shared: Mutex<Shared>,
    changed: Condvar,
}

/// What the indexer has to do.
#[derive(Debug)]
pub struct Work {
    /// Numbers about the journal.
    pub state: State,
    /// Digests in order, without gaps, from the wanted `seq` on; empty where the segments must be read.
    pub ready: Vec<Indexed>,
    /// No further work will come.
    pub closed: bool,
}

impl Progress {
    pub(super) fn new(state: State) -> Self {
        Self { shared: Mutex::new(Shared { state, ..Shared::default() }), changed: Condvar::new() }
    }

    /// Numbers about the journal.
    #[must_use]
    pub fn state(&self) -> State {
        self.lock().state
    }

    /// Publishes what has become durable.
    pub(super) fn publish(&self, state: State, written: impl IntoIterator<Item = Indexed>) {
        let mut shared = self.lock();
        shared.state = state;
        for indexed in written {
            shared.shelf_rows += rows(&indexed);
            shared.shelf.push_back(indexed);
            while shared.shelf_rows > SHELF_ROWS_MAX {
                shared.drop_first();
            }
        }
        drop(shared);
        self.changed.notify_all();
    }

    /// Says that no more will be written.
    pub(super) fn close(&self, failed: bool) {
        let mut shared = self.lock();
        shared.closed = true;
        shared.state.failed |= failed;
        drop(shared);
        self.changed.notify_all();
    }

    /// Asks the indexer not to wait for more before it works.
    pub fn demand(&self) {
        self.lock().demand = true;
        self.changed.notify_all();
    }

    /// Waits until there is work behind `indexed` and `purged`, then gathers more for at most `gather`: one transaction for
    /// many envelopes costs a fraction of many. Demand, or `batch_max` envelopes, end the gathering.
    pub fn wait(&self, indexed: u64, purged: u64, gather: Duration, batch_max: usize) -> Work {
        let idle = |shared: &mut Shared| {
            shared.state.durable <= indexed && shared.state.floor <= purged && !shared.closed
        };
        let shared = self.lock();
        let shared = self.changed.wait_while(shared, idle).unwrap_or_else(PoisonError::into_inner);
        let few = |shared: &mut Shared| {
            let waiting = shared.state.durable.saturating_sub(indexed);
            !shared.demand && !shared.closed && waiting < batch_max as u64
        };
        let (mut shared, _) =
            self.changed.wait_timeout_while(shared, gather, few).unwrap_or_else(PoisonError::into_inner);
        shared.demand = false;
        while shared.shelf.front().is_some_and(|first| first.seq <= indexed) {
            shared.drop_first();
        }
        let mut ready = Vec::new();
        while ready.len() < batch_max
            && shared.shelf.front().is_some_and(|first| first.seq == indexed + 1 + ready.len() as u64)
        {
            ready.extend(shared.drop_first());
        }
        Work { state: shared.state, ready, closed: shared.closed }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
