//! Streams responses at the client's reading speed while their content is found, so that none is in memory as a whole.

use std::{
    io::{self, BufWriter, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use chassis::problem::Problem;
use http::header;
use serde::Serialize;
use tokio::{
    runtime::Handle,
    sync::{mpsc, mpsc::error::SendTimeoutError},
};

use super::state::{Query, with_lag};
use crate::{
    body,
    index::{
        IndexError, Page,
        read::{self, EnvelopeRow},
    },
    journal::{Reader, Stored},
    protocol::{digest::Kinds, envelope::Envelope, seconds, trace::Source},
};

/// Size of the pieces that are handed to the connection.
const CHUNK_BYTES: usize = 32 * 1024;
/// Largest number of chunks that wait for the client.
const CHUNKS_WAITING: usize = 4;
/// Longest time without progress. The response is then cut off, because other requests wait for its slot.
const STALL_DEADLINE: Duration = Duration::from_secs(20);
/// Total delay that a client may cause while other requests wait for a slot, plus one second for each of these bytes.
const FAIR_DELAY: Duration = Duration::from_secs(5);
const FAIR_BYTES_PER_S: u64 = 1024 * 1024;
/// Interval at which a writer that waits for its client checks whether others wait.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// Number of rows that are fetched from the index at a time.
const ROWS: u32 = 500;

/// Output of a response.
pub(crate) type Out = BufWriter<ChunkSender>;

/// Hands written bytes to the connection. It waits for a slower client, but not for one that has stopped reading, and not
/// for long while other requests wait for a slot.
#[derive(Debug)]
pub(crate) struct ChunkSender {
    chunks: mpsc::Sender<Bytes>,
    runtime: Handle,
    waiting: Arc<AtomicUsize>,
    waited: Duration,
    sent_bytes: u64,
}

impl ChunkSender {
    fn is_unfair(&self, waited: Duration) -> bool {
        let allowed = FAIR_DELAY + Duration::from_secs(self.sent_bytes / FAIR_BYTES_PER_S);
        waited > allowed && self.waiting.load(Ordering::Relaxed) > 0
    }
}

impl Write for ChunkSender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let begun = Instant::now();
        let mut chunk = Bytes::copy_from_slice(bytes);
        loop {
            let sent = self.runtime.block_on(self.chunks.send_timeout(chunk, CHECK_INTERVAL));
            let stalled = begun.elapsed();
            match sent {
                Err(SendTimeoutError::Closed(_)) => return Err(io::ErrorKind::BrokenPipe.into()),
                Err(SendTimeoutError::Timeout(back)) => chunk = back,
                Ok(()) => {
                    self.waited += stalled;
                    self.sent_bytes += bytes.len() as u64;
                    return if self.is_unfair(self.waited) {
                        Err(io::ErrorKind::TimedOut.into())
                    } else {
                        Ok(bytes.len())
                    };
                }
            }
            if stalled > STALL_DEADLINE || self.is_unfair(self.waited + stalled) {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reason why a response ends early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// Reading failed, or the client disconnected or read too slowly.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A value could not be written as JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl From<WriteError> for IndexError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Index(error) => error,
            WriteError::Io(error) => Self::Journal(error),
            WriteError::Json(error) => Self::Journal(error.into()),
        }
    }
}

/// Responds with the output of `write`, which runs on a blocking thread.
pub(crate) async fn stream<F>(
    query: &Query,
    content_type: &'static str,
    write: F,
) -> Result<Response, Problem>
where
    F: FnOnce(&Query, &mut Out) -> Result<(), WriteError> + Send + 'static,
{
    let lag = query.index.caught_up().await;
    let slot = query.slots.acquire().await?;
    let (sender, receiver) = mpsc::channel(CHUNKS_WAITING);
    let cut_short = Arc::new(AtomicBool::new(false));
    let (shared, failing) = (query.clone(), Arc::clone(&cut_short));
    let sender = ChunkSender {
        chunks: sender,
        runtime: Handle::current(),
        waiting: query.slots.waiting(),
        waited: Duration::ZERO,
        sent_bytes: 0,
    };
    // Detached on purpose. It ends with its output, or at the first chunk after the client has disconnected.
    let writing = tokio::task::spawn_blocking(move || {
        let mut out = BufWriter::with_capacity(CHUNK_BYTES, sender);
        let written = write(&shared, &mut out).and_then(|()| Ok(out.flush()?));
        if let Err(error) = &written {
            failing.store(true, Ordering::Release);
            log_early_end(error);
        }
        // Bytes that were not sent must not be sent after the cut.
        drop(out.into_parts());
        drop(slot);
    });
    drop(writing);
    let chunks = futures::stream::unfold((receiver, cut_short), |(mut receiver, cut_short)| async move {
        let chunk = match receiver.recv().await {
            Some(chunk) => Ok(chunk),
            // Breaks off the connection, because a regular end would mean that there is no more.
            None if cut_short.swap(false, Ordering::Acquire) => {
                Err(io::Error::other("the response was cut short"))
            }
            None => return None,
        };
        Some((chunk, (receiver, cut_short)))
    });
    Ok(with_lag(lag, ([(header::CONTENT_TYPE, content_type)], Body::from_stream(chunks)).into_response()))
}

fn log_early_end(error: &WriteError) {
    match error {
        WriteError::Io(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            tracing::debug!("the client disconnected before the end of its response");
        }
        WriteError::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
            tracing::debug!("a response was cut short because its client reads too slowly");
        }
        error => tracing::error!(error = %error, "a response was cut short"),
    }
}

/// Content type of the listings.
pub(crate) const NDJSON: &str = "application/x-ndjson";

/// One envelope of a listing.
#[derive(Debug)]
pub(crate) struct ListedEnvelope<'a> {
    pub(crate) source: Source<'a>,
    pub(crate) envelope: &'a Envelope<'a>,
    /// Number of decompressed bytes, including attachments that are not parsed.
    pub(crate) bytes: u64,
}

/// Calls `each` for every envelope of the page with one of the kinds, until `each` returns true.
pub(crate) fn each_envelope(
    query: &Query,
    page: Page,
    kinds: Kinds,
    mut each: impl FnMut(ListedEnvelope<'_>) -> Result<bool, WriteError>,
) -> Result<(), WriteError> {
    let mut reader = query.journal.reader();
    let mut page = Page { limit: ROWS, ..page };
    // Envelopes that arrive meanwhile belong to the next response. Otherwise a fast sender would make this one endless.
    let end = query.index.reached().indexed;
    loop {
        let rows = query.index.read(|connection| read::envelopes(connection, page, kinds))?;
        let Some(last) = rows.last() else { return Ok(()) };
        page.since = last.seq;
        for row in rows {
            if row.seq > end {
                return Ok(());
            }
            if let Some(true) = with_envelope(query, &mut reader, row, &mut each)? {
                return Ok(());
            }
        }
    }
}

/// Calls `each` with one envelope. Returns `None` when it was deleted meanwhile or can no longer be opened.
pub(crate) fn with_envelope<T>(
    query: &Query,
    reader: &mut Reader,
    row: EnvelopeRow,
    each: impl FnOnce(ListedEnvelope<'_>) -> Result<T, WriteError>,
) -> Result<Option<T>, WriteError> {
    let Some(stored) = reader.read(row.location)? else { return Ok(None) };
    let Stored { seq, received_at_us, project, kind, encoding, body } = stored;
    let Ok(opened) = body::open(kind, encoding, &body, query.limits.body()) else { return Ok(None) };
    let Ok(envelope) = opened.envelope() else { return Ok(None) };
    let name = query.projects.name(project);
    let source = Source { seq, received_at: seconds(received_at_us), project, name: &name };
    each(ListedEnvelope { source, envelope: &envelope, bytes: opened.bytes() }).map(Some)
}

/// Writes a value as one line.
pub(crate) fn write_line(out: &mut Out, value: &impl Serialize) -> Result<(), WriteError> {
    let text = serde_json::to_string(value)?;
    write_without_newlines(out, text.as_bytes())?;
    out.write_all(b"\n")?;
    Ok(())
}

/// Writes JSON without its newlines. In JSON they occur only between tokens, never inside a string.
pub(crate) fn write_without_newlines(out: &mut Out, json: &[u8]) -> io::Result<()> {
    for piece in json.split(|byte| matches!(byte, b'\n' | b'\r')) {
        out.write_all(piece)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
