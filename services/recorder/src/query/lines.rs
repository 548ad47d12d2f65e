//! Answers that are written while they are found: never whole in memory, and at the pace of whoever reads them.

use std::{
    io::{self, BufWriter, Write},
    time::Duration,
};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use chassis::problem::Problem;
use http::header;
use serde::Serialize;
use tokio::{runtime::Handle, sync::mpsc};

use super::{Query, with_lag};
use crate::{
    body,
    index::{
        IndexError, Page,
        read::{self, EnvelopeRow},
    },
    journal::{Reader, Stored},
    protocol::{digest::Kinds, envelope::Envelope, trace::Source},
};

/// Bytes that are handed over at a time.
const CHUNK_BYTES: usize = 32 * 1024;
/// Chunks that may wait for the reader.
const CHUNKS_WAITING: usize = 4;
/// Whoever reads nothing for this long has its answer cut short: it holds a place that others wait for.
const READER_PATIENCE: Duration = Duration::from_secs(20);
/// Rows that are fetched from the index at a time.
const ROWS: u32 = 500;

/// What answers are written to.
pub(crate) type Out = BufWriter<ChunkSender>;

/// Hands written bytes to the connection; waits while the reader is slower, but not for one that has stopped reading.
#[derive(Debug)]
pub(crate) struct ChunkSender {
    chunks: mpsc::Sender<io::Result<Bytes>>,
    runtime: Handle,
}

impl Write for ChunkSender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sending = self.chunks.send_timeout(Ok(Bytes::copy_from_slice(bytes)), READER_PATIENCE);
        self.runtime.block_on(sending).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Why an answer ends early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// Reading failed, or the asker has left.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A value could not be written as JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// Answers with what `write` writes, on a thread that may block.
pub(crate) async fn stream<F>(
    query: &Query,
    content_type: &'static str,
    write: F,
) -> Result<Response, Problem>
where
    F: FnOnce(&Query, &mut Out) -> Result<(), WriteError> + Send + 'static,
{
    let lag = query.index.caught_up().await;
    let answers = std::sync::Arc::clone(&query.answers);
    let place = answers.acquire_owned().await.map_err(|_| Problem::unavailable("the recorder is ending"))?;
    let (sender, receiver) = mpsc::channel(CHUNKS_WAITING);
    let (asked, runtime) = (query.clone(), Handle::current());
    // Detached on purpose: it ends with its writing, or with the first chunk that nobody wants.
    let writing = tokio::task::spawn_blocking(move || {
        let failing = sender.clone();
        let mut out = BufWriter::with_capacity(CHUNK_BYTES, ChunkSender { chunks: sender, runtime });
        match write(&asked, &mut out).and_then(|()| Ok(out.flush()?)) {
            Ok(()) => {}
            Err(WriteError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                tracing::debug!("the asker left before the end");
            }
            Err(error) => {
                tracing::error!(error = %error, "an answer was cut short");
                // The connection breaks off: an answer that ends in order would say that there is no more.
                let told = failing.blocking_send(Err(io::Error::other("the answer was cut short")));
                drop(told);
            }
        }
        drop(place);
    });
    drop(writing);
    let chunks = futures::stream::unfold(receiver, |mut receiver| async move {
        let chunk: io::Result<Bytes> = receiver.recv().await?;
        Some((chunk, receiver))
    });
    Ok(with_lag(lag, ([(header::CONTENT_TYPE, content_type)], Body::from_stream(chunks)).into_response()))
}

/// Content type of the listings.
pub(crate) const NDJSON: &str = "application/x-ndjson";

/// One envelope on its way through a listing.
#[derive(Debug)]
pub(crate) struct Opened<'a> {
    pub(crate) source: Source<'a>,
    pub(crate) received_at: f64,
    pub(crate) envelope: &'a Envelope<'a>,
}

/// Calls `each` for every envelope of the page that has one of the kinds, until it says that it has enough.
pub(crate) fn each_envelope(
    query: &Query,
    page: Page,
    kinds: Kinds,
    mut each: impl FnMut(Opened<'_>) -> Result<bool, WriteError>,
) -> Result<(), WriteError> {
    let mut reader = query.journal.reader();
    let mut page = Page { limit: ROWS, ..page };
    // What arrives while the answer is written belongs to the next one: else a fast sender makes it endless.
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

/// Reads one envelope and calls `each` with it; nothing where it was deleted meanwhile or cannot be opened any more.
pub(crate) fn with_envelope<T>(
    query: &Query,
    reader: &mut Reader,
    row: EnvelopeRow,
    each: impl FnOnce(Opened<'_>) -> Result<T, WriteError>,
) -> Result<Option<T>, WriteError> {
    let Some(stored) = reader.read(row.place)? else { return Ok(None) };
    let Stored { seq, received_at_us, project, kind, encoding, body } = stored;
    let Ok(plain) = body::open(kind, encoding, &body, query.limits.envelope_bytes_max) else {
        return Ok(None);
    };
    let Ok(envelope) = Envelope::parse(&plain) else { return Ok(None) };
    let name = query.projects.name(project);
    let source = Source { seq, project, name: &name };
    each(Opened { source, received_at: seconds(received_at_us), envelope: &envelope }).map(Some)
}

/// Seconds since the epoch, as everywhere in Sentry.
pub(crate) fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// Writes a value as one line.
pub(crate) fn line(out: &mut Out, value: &impl Serialize) -> Result<(), WriteError> {
    let text = serde_json::to_string(value)?;
    one_line(out, text.as_bytes())?;
    out.write_all(b"\n")?;
    Ok(())
}

/// Writes JSON without its newlines: in JSON they can only stand between tokens, never inside a string.
pub(crate) fn one_line(out: &mut Out, json: &[u8]) -> io::Result<()> {
    for piece in json.split(|byte| matches!(byte, b'\n' | b'\r')) {
        out.write_all(piece)?;
    }
    Ok(())
}
