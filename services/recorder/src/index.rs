//! Index of the journal: a SQLite file that is derived only from the segments.
//!
//! It guarantees that a missing, damaged or outdated index catches up from the segments by itself. A query after a response
//! of 200 sees that envelope: it waits for the indexer up to a limit, and reports how many envelopes are missing after it.

pub mod alerts;
pub mod health;
mod issues;
pub mod read;
pub mod read_issues;
mod schema;
mod write;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rusqlite::Connection;
use tokio::sync::watch;

use crate::{
    body::Limits,
    domain::Clock,
    journal::{Journal, Progress},
};

pub use read::Page;

/// Longest time that a query waits for the indexer.
const CATCH_UP_DEADLINE: Duration = Duration::from_secs(5);
/// Number of connections for queries. Further queries wait for one.
const READERS: usize = 2;

/// Progress of the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexProgress {
    /// Everything up to this `seq` is indexed.
    pub indexed: u64,
    /// Everything below this `seq` is deleted.
    pub purged: u64,
    /// The indexer thread has exited.
    pub ended: bool,
}

/// Error of the index.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// SQLite returned an error.
    #[error("the index failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The segments could not be read.
    #[error("the index could not read the journal: {0}")]
    Journal(#[from] std::io::Error),
}

/// Handle for queries. Clones share the connections.
#[derive(Clone)]
pub struct Index {
    readers: Arc<[Mutex<Connection>; READERS]>,
    reached: watch::Receiver<IndexProgress>,
    progress: Arc<Progress>,
    ongoing_after_s: f64,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("reached", &*self.reached.borrow()).finish_non_exhaustive()
    }
}

/// Options of the index.
#[derive(Clone, Debug)]
pub struct Options {
    /// Path of the SQLite file.
    pub path: PathBuf,
    /// Time for gathering envelopes into one transaction. A waiting query ends it early.
    pub gather: Duration,
    /// Limits for opening stored envelopes.
    pub limits: Limits,
    /// Time after which a new issue is ongoing.
    pub ongoing_after_s: f64,
}

impl Index {
    /// Opens the index and starts the indexer thread.
    ///
    /// A damaged index, one of another version, or one that is ahead of the journal is rebuilt.
    pub fn open(options: Options, journal: &Journal) -> Result<(Self, JoinHandle<()>), IndexError> {
        let progress = Arc::clone(journal.progress());
        let (writer, reached) = write::Writer::open(options.clone(), journal)?;
        let (sender, receiver) = watch::channel(reached);
        let readers = Arc::new([reader(&options.path)?, reader(&options.path)?]);
        let ongoing_after_s = options.ongoing_after_s;
        let thread =
            std::thread::Builder::new().name("indexer".to_owned()).spawn(move || writer.run(&sender))?;
        Ok((Self { readers, reached: receiver, progress, ongoing_after_s }, thread))
    }

    /// Returns the progress of the index.
    #[must_use]
    pub fn reached(&self) -> IndexProgress {
        *self.reached.borrow()
    }

    /// Returns the present time for the states of issues.
    #[must_use]
    pub fn clock(&self) -> Clock {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { now: now.as_secs_f64(), ongoing_after_s: self.ongoing_after_s }
    }

    /// Waits until everything that is durable now is indexed. Returns the number of envelopes that are still missing.
    pub async fn caught_up(&self) -> u64 {
        let wanted = self.progress.state();
        let mut reached = self.reached.clone();
        let is_caught_up =
            |now: &IndexProgress| now.ended || (now.indexed >= wanted.durable && now.purged >= wanted.floor);
        if !is_caught_up(&reached.borrow()) {
            self.progress.wake_indexer();
            // After a time-out too, the number below is correct.
            let waited = tokio::time::timeout(CATCH_UP_DEADLINE, reached.wait_for(is_caught_up)).await;
            drop(waited);
        }
        wanted.durable.saturating_sub(self.reached().indexed)
    }

    /// Waits until the indexer thread has exited.
    pub async fn ended(&self) {
        let mut reached = self.reached.clone();
        // A closed channel means the same.
        let ended = reached.wait_for(|now| now.ended).await;
        drop(ended);
    }

    /// Returns this index as if its indexer had exited before it indexed anything.
    #[cfg(test)]
    pub(crate) fn stopped(self) -> Self {
        let stopped = IndexProgress { ended: true, ..IndexProgress::default() };
        Self { reached: watch::channel(stopped).1, ..self }
    }

    /// Runs a query on this thread, which may block.
    pub fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, IndexError> {
        let connection = self
            .readers
            .iter()
            .find_map(|reader| reader.try_lock().ok())
            .unwrap_or_else(|| self.readers[0].lock().unwrap_or_else(PoisonError::into_inner));
        Ok(query(&connection)?)
    }
}

fn reader(path: &Path) -> Result<Mutex<Connection>, IndexError> {
    let connection = Connection::open(path)?;
    schema::configure_reader(&connection)?;
    Ok(Mutex::new(connection))
}
