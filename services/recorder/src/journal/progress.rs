//! Progress of the journal, shared by the writer, the indexer and queries.
//!
//! The writer puts the digests of written envelopes into a bounded buffer, so that the indexer need not read and parse them again.
//! When the indexer lags, digests are dropped and it reads the segments instead.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::protocol::digest::Digest;

/// Largest number of index rows in the buffered digests.
const BUFFER_ROWS_MAX: usize = 16_384;

/// Location of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// First `seq` of its segment.
    pub segment: u64,
    /// Offset in the segment file.
    pub offset: u64,
    /// Length of the frame, including its head.
    pub bytes: u64,
}

/// A durable envelope with the data for the index.
#[derive(Clone, Debug)]
pub struct IndexEntry {
    /// Position in the order of arrival.
    pub seq: u64,
    /// Time of arrival, in microseconds since the epoch.
    pub received_at_us: u64,
    /// Numeric id of the project.
    pub project: u32,
    /// Location of the bytes.
    pub location: Location,
    /// Data for the index.
    pub digest: Digest,
}

impl IndexEntry {
    /// Returns the number of rows that it needs in the index, by which its size in memory is judged.
    pub(crate) fn rows(&self) -> usize {
        let Digest { kinds: _, parts, errors, releases, sessions, actions, alerts } = &self.digest;
        let alerts: usize = alerts.iter().map(|stored| 1 + stored.alerts.len()).sum();
        1 + parts.len() + errors.len() + releases.len() + sessions.len() + actions.len() + alerts
    }
}

/// State of the journal.
#[derive(Clone, Copy, Debug, Default)]
pub struct State {
    /// Last `seq` that cannot be lost.
    pub durable: u64,
    /// First `seq` that is not deleted.
    pub floor: u64,
    /// Total size of all segments.
    pub bytes: u64,
    /// True after a disk error has closed the journal.
    pub failed: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: State,
    buffer: VecDeque<IndexEntry>,
    buffer_rows: usize,
    /// A query waits for the index to catch up.
    query_waits: bool,
    closed: bool,
    /// Durable `seq` from which on the indexer wants to be woken. Otherwise each commit would wake it while it gathers.
    wakes_at: u64,
}

impl Shared {
    fn wakes_indexer(&self) -> bool {
        self.state.durable >= self.wakes_at
    }

    fn pop_first(&mut self) -> Option<IndexEntry> {
        let first = self.buffer.pop_front()?;
        self.buffer_rows -= first.rows();
        Some(first)
    }
}

/// Shared progress of the journal.
#[derive(Debug)]
pub struct Progress {
    shared: Mutex<Shared>,
    changed: Condvar,
}

/// Work for the indexer.
#[derive(Debug)]
pub struct Work {
    /// State of the journal.
    pub state: State,
    /// Digests without gaps from the wanted `seq` on. Empty when the segments must be read.
    pub ready: Vec<IndexEntry>,
    /// No further work follows.
    pub closed: bool,
}

impl Progress {
    pub(super) fn new(state: State) -> Self {
        Self { shared: Mutex::new(Shared { state, ..Shared::default() }), changed: Condvar::new() }
    }

    /// Returns the state of the journal.
    #[must_use]
    pub fn state(&self) -> State {
        self.lock().state
    }

    /// Publishes the new state and the digests of written envelopes.
    pub(super) fn publish(&self, state: State, written: impl IntoIterator<Item = IndexEntry>) {
        let mut shared = self.lock();
        shared.state = state;
        for indexed in written {
            shared.buffer_rows += indexed.rows();
            shared.buffer.push_back(indexed);
            while shared.buffer_rows > BUFFER_ROWS_MAX {
                shared.pop_first();
            }
        }
        let wakes_indexer = shared.wakes_indexer();
        drop(shared);
        if wakes_indexer {
            self.changed.notify_all();
        }
    }

    /// Publishes that nothing more will be written.
    pub(super) fn close(&self, failed: bool) {
        let mut shared = self.lock();
        shared.closed = true;
        shared.state.failed |= failed;
        drop(shared);
        self.changed.notify_all();
    }

    /// Makes the indexer work at once instead of gathering more.
    pub fn wake_indexer(&self) {
        self.lock().query_waits = true;
        self.changed.notify_all();
    }

    /// Waits for work after `indexed` or `purged`, then gathers more for at most `gather`, because one transaction for many
    /// envelopes costs a fraction of many transactions. A waiting query, or `batch_max` envelopes, end the gathering.
    pub fn wait(&self, indexed: u64, purged: u64, gather: Duration, batch_max: usize) -> Work {
        let idle = |shared: &mut Shared| {
            shared.state.durable <= indexed && shared.state.floor <= purged && !shared.closed
        };
        let mut shared = self.lock();
        shared.wakes_at = 0;
        let mut shared = self.changed.wait_while(shared, idle).unwrap_or_else(PoisonError::into_inner);
        shared.wakes_at = indexed.saturating_add(batch_max as u64);
        let few = |shared: &mut Shared| {
            let waiting = shared.state.durable.saturating_sub(indexed);
            !shared.query_waits && !shared.closed && waiting < batch_max as u64
        };
        let (mut shared, _) =
            self.changed.wait_timeout_while(shared, gather, few).unwrap_or_else(PoisonError::into_inner);
        // It works from now on, and looks again before it waits.
        (shared.wakes_at, shared.query_waits) = (u64::MAX, false);
        while shared.buffer.front().is_some_and(|first| first.seq <= indexed) {
            shared.pop_first();
        }
        let mut ready = Vec::new();
        while ready.len() < batch_max
            && shared.buffer.front().is_some_and(|first| first.seq == indexed + 1 + ready.len() as u64)
        {
            ready.extend(shared.pop_first());
        }
        Work { state: shared.state, ready, closed: shared.closed }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than any test may take.
    const LONG: Duration = Duration::from_secs(600);
    const BATCH_MAX: usize = 3;

    fn publish(progress: &Progress, seq: u64) {
        let location = Location { segment: 1, offset: seq, bytes: 1 };
        let entry = IndexEntry { seq, received_at_us: 1, project: 1, location, digest: Digest::default() };
        progress.publish(State { durable: seq, floor: 1, ..State::default() }, [entry]);
    }

    /// Waits until the indexer waits for this `seq`.
    fn until_it_waits_for(progress: &Progress, seq: u64) {
        while progress.lock().wakes_at != seq {
            std::thread::yield_now();
        }
    }

    #[test]
    fn indexer_gathers_until_its_batch_is_full() {
        let progress = Progress::new(State { floor: 1, ..State::default() });
        std::thread::scope(|scope| {
            let work = scope.spawn(|| progress.wait(0, 1, LONG, BATCH_MAX));
            until_it_waits_for(&progress, 0);
            publish(&progress, 1);
            until_it_waits_for(&progress, 3);
            publish(&progress, 2);
            assert!(!progress.lock().wakes_indexer(), "it still gathers");
            publish(&progress, 3);
            let work = work.join().expect("the indexer's thread");
            assert_eq!((work.state.durable, work.ready.len()), (3, 3));
        });
        publish(&progress, 4);
        assert!(!progress.lock().wakes_indexer(), "it works");
        let work = progress.wait(3, 1, Duration::ZERO, BATCH_MAX);
        assert_eq!(work.ready.len(), 1, "what came meanwhile is found without a signal");
    }

    #[test]
    fn query_and_end_of_journal_end_the_gathering() {
        let endings: [fn(&Progress); 2] = [Progress::wake_indexer, |progress| progress.close(false)];
        for end in endings {
            let progress = Progress::new(State { floor: 1, ..State::default() });
            std::thread::scope(|scope| {
                let work = scope.spawn(|| progress.wait(0, 1, LONG, BATCH_MAX));
                publish(&progress, 1);
                until_it_waits_for(&progress, 3);
                end(&progress);
                assert_eq!(work.join().expect("the indexer's thread").ready.len(), 1);
            });
        }
    }
}
