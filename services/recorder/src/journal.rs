//! Append-only store of every body that was acknowledged with 200, in order of arrival.
//!
//! It guarantees that an append is acknowledged only after the bytes are in a segment file and that file is synchronised
//! (`fdatasync`). Requests that wait at the same time share one synchronisation. The next start after a crash cuts off a
//! half-written end, and reading skips damage in the middle. Both are first copied to separate files. The index is derived
//! from the journal and may be deleted at any time.

mod body;
mod frame;
mod progress;
mod reader;
mod recovery;
mod segment;
mod writer;

use std::{fs::File, io, path::PathBuf, sync::Arc, thread::JoinHandle};

use tokio::sync::{mpsc, oneshot};

use crate::protocol::digest::Digest;

pub use body::{Blob, Body};
pub use frame::{BodyKind, Encoding};
pub use progress::{IndexEntry, Location, Progress};
pub use reader::{Cursor, Reader, Stored};

/// Options of the journal.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directory of the segment files.
    pub directory: PathBuf,
    /// Size at which a new segment is started.
    pub segment_bytes: u64,
    /// Total size of the segments above which the oldest are deleted.
    pub retention_bytes: u64,
    /// Makes written bytes of a file survive a power cut. Only tests replace it.
    pub sync: fn(&File) -> io::Result<()>,
}

/// Reason why an envelope was not stored. The sender did not receive 200.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JournalError {
    /// Writing failed, most likely because the disk is full. Later appends may succeed.
    #[error("the journal could not be written: {0}")]
    Write(String),
    /// Synchronising failed, or the writer has exited. The journal can guarantee nothing any more.
    #[error("the journal is closed")]
    Closed,
}

/// One envelope to store.
#[derive(Debug)]
pub struct Append {
    /// Time of arrival, in microseconds since the epoch.
    pub received_at_us: u64,
    /// Numeric id of the project.
    pub project: u32,
    /// Envelope or single event.
    pub kind: BodyKind,
    /// Compression of the body.
    pub encoding: Encoding,
    /// Body as received.
    pub body: Body,
    /// Data for the index.
    pub digest: Digest,
}

enum Command {
    Append(Append, oneshot::Sender<Result<u64, JournalError>>),
    DeleteAll(oneshot::Sender<Result<u64, JournalError>>),
    Close,
}

/// Handle on the journal. Clones share it.
#[derive(Clone, Debug)]
pub struct Journal {
    commands: mpsc::Sender<Command>,
    directory: Arc<PathBuf>,
    progress: Arc<Progress>,
}

/// Largest number of envelopes in the queue of the writer. Further requests wait.
const WAITING_MAX: usize = 256;

impl Journal {
    /// Opens the journal, repairs its end and starts its writer thread.
    ///
    /// Fails when the directory cannot be read or written, or contains a segment that Pitboss did not write.
    pub fn open(options: Options) -> io::Result<(Self, JoinHandle<()>)> {
        let recovered = recovery::recover(&options)?;
        let progress = Arc::new(Progress::new(recovered.state));
        let (commands, receiver) = mpsc::channel(WAITING_MAX);
        let directory = Arc::new(options.directory.clone());
        let writer =
            writer::Writer::new(options, recovered.active, recovered.segments, Arc::clone(&progress));
        let thread =
            std::thread::Builder::new().name("journal".to_owned()).spawn(move || writer.run(receiver))?;
        Ok((Self { commands, directory, progress }, thread))
    }

    /// Stores an envelope. Returns its position in the order of arrival once it cannot be lost any more.
    pub async fn append(&self, append: Append) -> Result<u64, JournalError> {
        let (reply, result) = oneshot::channel();
        self.commands.send(Command::Append(append, reply)).await.map_err(|_| JournalError::Closed)?;
        result.await.map_err(|_| JournalError::Closed)?
    }

    /// Hands over an envelope without waiting until it is stored.
    ///
    /// This breaks the recorder's guarantee on purpose, so that the test of the guarantee can be shown to fail.
    pub async fn append_unsafely(&self, append: Append) -> Result<(), JournalError> {
        let (reply, _) = oneshot::channel();
        self.commands.send(Command::Append(append, reply)).await.map_err(|_| JournalError::Closed)
    }

    /// Deletes everything that is stored. Returns the first `seq` that is not deleted.
    pub async fn delete_all(&self) -> Result<u64, JournalError> {
        let (reply, result) = oneshot::channel();
        self.commands.send(Command::DeleteAll(reply)).await.map_err(|_| JournalError::Closed)?;
        result.await.map_err(|_| JournalError::Closed)?
    }

    /// Lets the writer finish its queue and exit. Later appends fail, so they are not acknowledged.
    pub async fn close(&self) {
        // A writer that has already exited needs no closing.
        let sent = self.commands.send(Command::Close).await;
        drop(sent);
    }

    /// Waits until the writer has exited, after `close` or because the disk cannot be trusted any more.
    pub async fn ended(&self) {
        self.commands.closed().await;
    }

    /// Returns the state that the writer shares with the indexer.
    #[must_use]
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Returns a reader of the stored envelopes.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::new(self.directory.as_ref().clone())
    }
}

/// Calls `fdatasync`, which puts the bytes and the file's length on the disk.
///
/// After an error the journal can guarantee nothing any more.
pub fn sync_data(file: &File) -> io::Result<()> {
    file.sync_data()
}
