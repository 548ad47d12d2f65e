//! What finds things in the journal: a SQLite file that is derived from the segments and from nothing else.
//!
//! Promise: an index that is missing, damaged or behind catches up from the segments by itself, and a query that comes
//! after an answer of 200 sees what was answered (it waits for the indexer, within a bound, and says so when that was
//! not enough).

pub mod read;
mod schema;
mod write;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use rusqlite::Connection;
use tokio::sync::watch;

use crate::{
    body::Limits,
    journal::{Journal, Progress},
};

pub use read::Page;

/// How long a query waits for the indexer.
const WAIT: Duration = Duration::from_secs(5);
/// Connections for queries; more queries wait for one.
const READERS: usize = 2;

/// How far the index has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Everything up to this `seq` is indexed.
    pub indexed: u64,
    /// Everything below this `seq` is forgotten.
    pub purged: u64,
    /// The indexer has ended.
    pub ended: bool,
}

/// Why the index cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// SQLite refused.
    #[error("the index: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The segments could not be read.
    #[error("the index, reading the journal: {0}")]
    Journal(#[from] std::io::Error),
}

/// Handle for queries; clones share it.
#[derive(Clone)]
pub struct Index {
    readers: Arc<[Mutex<Connection>; READERS]>,
    reached: watch::Receiver<Reached>,
    progress: Arc<Progress>,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("reached", &*self.reached.borrow()).finish_non_exhaustive()
    }
}

/// How the index works.
#[derive(Clone, Debug)]
pub struct Options {
    /// The SQLite file.
    pub path: PathBuf,
    /// Envelopes are gathered this long for one transaction, unless a query waits.
    pub gather: Duration,
    /// An envelope that is larger once decompressed was never accepted.
    pub limits: Limits,
}

impl Index {
    /// Opens the index (anew, when it is damaged or not of this journal) and starts the indexer.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn open(options: Options, journal: &Journal) -> Result<(Self, JoinHandle<()>), IndexError> {
        let progress = Arc::clone(journal.progress());
        let (writer, reached) = write::Writer::open(options.clone(), journal)?;
        let (sender, receiver) = watch::channel(reached);
        let readers = Arc::new([reader(&options.path)?, reader(&options.path)?]);
        let thread =
            std::thread::Builder::new().name("indexer".to_owned()).spawn(move || writer.run(&sender))?;
        Ok((Self { readers, reached: receiver, progress }, thread))
    }

    /// How far the index has come.
    #[must_use]
    pub fn reached(&self) -> Reached {
        *self.reached.borrow()
    }

    /// Waits until everything that is durable now is indexed; returns how many envelopes are missing after all.
    pub async fn caught_up(&self) -> u64 {
        let wanted = self.progress.state();
        let mut reached = self.reached.clone();
        let there =
            |now: &Reached| now.ended || (now.indexed >= wanted.durable && now.purged >= wanted.floor);
        if !there(&reached.borrow()) {
            self.progress.demand();
            // Either way the number below says how it stands.
            let waited = tokio::time::timeout(WAIT, reached.wait_for(there)).await;
            drop(waited);
        }
        wanted.durable.saturating_sub(self.reached().indexed)
    }

    /// Waits until the indexer has ended.
    pub async fn ended(&self) {
        let mut reached = self.reached.clone();
        // A sender that is gone has ended, too.
        let ended = reached.wait_for(|now| now.ended).await;
        drop(ended);
    }

    /// Runs a query on this thread, which may block.
    ///
    /// # Errors
    /// When SQLite refuses.
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
