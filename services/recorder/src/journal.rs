//! Every byte that was answered with 200, in the order of arrival.
//!
//! Promise: an append is answered only after the bytes are in an append-only segment file AND that file was synchronised
//! (`fdatasync`). Requests that wait together share one synchronisation. What a crash left half-written at the end is cut
//! off at the next start, damage in the middle is passed over, and both are put aside under names of their own; the index
//! beside it is derived and may be thrown away at any time.

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
pub use progress::{Indexed, Place, Progress};
pub use reader::{Cursor, Reader, Stored};

/// How the journal keeps what it is given.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the segment files are.
    pub directory: PathBuf,
    /// A segment that has reached this size is followed by a new one.
    pub segment_bytes: u64,
    /// The oldest segments are deleted while all together are larger than this.
    pub retention_bytes: u64,
    /// Makes what was written to a file survive a power cut; replaced in tests only.
    pub sync: fn(&File) -> io::Result<()>,
}

/// Why something was not kept. The sender was not answered with 200.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JournalError {
    /// Writing failed, most likely because the disk is full; later appends may succeed.
    #[error("the journal could not be written: {0}")]
    Write(String),
    /// The disk failed to synchronise, or the writer is gone: nothing can be promised any more.
    #[error("the journal is closed")]
    Closed,
}

/// One envelope to be kept.
#[derive(Debug)]
pub struct Append {
    /// When it arrived, in microseconds since the epoch.
    pub received_at_us: u64,
    /// Numeric id of the project.
    pub project: u32,
    /// Envelope or single event.
    pub kind: BodyKind,
    /// How the body is compressed.
    pub encoding: Encoding,
    /// The body as it came.
    pub body: Body,
    /// What the index will keep of it.
    pub digest: Digest,
}

enum Command {
    Append(Append, oneshot::Sender<Result<u64, JournalError>>),
    Forget(oneshot::Sender<Result<u64, JournalError>>),
    Close,
}

/// Handle on the journal; clones share it.
#[derive(Clone, Debug)]
pub struct Journal {
    commands: mpsc::Sender<Command>,
    directory: Arc<PathBuf>,
    progress: Arc<Progress>,
}

/// Envelopes that wait for the writer; more wait in their requests.
const WAITING_MAX: usize = 256;

impl Journal {
    /// Opens the journal, repairs its end and starts its writer.
    ///
    /// # Errors
    /// When the directory cannot be read or written, or a segment is not one of ours.
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

    /// Keeps an envelope; returns its place in the order of arrival once it cannot be lost any more.
    ///
    /// # Errors
    /// When it was not kept.
    pub async fn append(&self, append: Append) -> Result<u64, JournalError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Append(append, reply)).await.map_err(|_| JournalError::Closed)?;
        answer.await.map_err(|_| JournalError::Closed)?
    }

    /// Hands an envelope over without waiting until it is kept: breaks the recorder's promise on purpose, so that the
    /// tests' check of that promise can be seen red.
    ///
    /// # Errors
    /// When the writer is gone.
    pub async fn append_unsafely(&self, append: Append) -> Result<(), JournalError> {
        let (reply, _) = oneshot::channel();
        self.commands.send(Command::Append(append, reply)).await.map_err(|_| JournalError::Closed)
    }

    /// Forgets everything that was kept so far; returns the first `seq` that is not forgotten.
    ///
    /// # Errors
    /// When a file could not be deleted or made.
    pub async fn forget(&self) -> Result<u64, JournalError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Forget(reply)).await.map_err(|_| JournalError::Closed)?;
        answer.await.map_err(|_| JournalError::Closed)?
    }

    /// Lets the writer finish what it holds, and end. What comes later is not kept and not answered with 200.
    pub async fn close(&self) {
        // The writer that is gone already needs no closing.
        let sent = self.commands.send(Command::Close).await;
        drop(sent);
    }

    /// Waits until the writer has ended: told to, or because the disk cannot be trusted any more.
    pub async fn ended(&self) {
        self.commands.closed().await;
    }

    /// What is durable, and what the index still has to see.
    #[must_use]
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Reads what was kept.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::new(self.directory.as_ref().clone())
    }
}

/// `fdatasync`: the bytes and the file's length are on the disk.
///
/// # Errors
/// When the disk says no; then nothing can be promised any more.
pub fn sync_data(file: &File) -> io::Result<()> {
    file.sync_data()
}
