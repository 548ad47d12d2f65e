//! Copies of bodies that do not fit into memory, most of them in files. The copy is made while it is sent, piece by piece, so memory
//! does not depend on its size.

use std::{
    io::{self, BufWriter, Read as _, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use tokio::sync::mpsc;

use super::{
    copy::{self, CopyError, Options, Selection},
    volume::Volume,
};
use crate::{
    body::{self, Opened, Place},
    journal::{Body, BodyKind, Encoding},
};

/// Total size of the files of the copies of all projects, waiting or being sent.
const FILE_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Size of the pieces that are handed to the connection.
const CHUNK_BYTES: usize = 32 * 1024;
/// Largest number of pieces that wait for the connection.
const CHUNKS_WAITING: usize = 4;

/// A copy whose body is in a file.
#[derive(Debug)]
pub(super) struct LargeCopy {
    pub(super) kind: BodyKind,
    pub(super) encoding: Encoding,
    pub(super) body: Body,
    pub(super) volumes: Vec<Volume>,
    pub(super) _room: TakenRoom,
}

/// Room on the disk for the files of copies. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct FileRoom(Arc<AtomicU64>);

/// Room that is free again when this is dropped.
#[derive(Debug)]
pub(super) struct TakenRoom {
    room: FileRoom,
    bytes: u64,
}

impl FileRoom {
    /// Takes room for a file. Returns `None` when there is not enough.
    pub(super) fn take(&self, bytes: u64) -> Option<TakenRoom> {
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        let taken = TakenRoom { room: self.clone(), bytes };
        (before.saturating_add(bytes) <= FILE_BYTES_MAX).then_some(taken)
    }
}

impl Drop for TakenRoom {
    fn drop(&mut self) {
        self.room.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What is sent of a large envelope.
#[derive(Debug)]
pub(super) struct Plan {
    /// Header for the target.
    header: Vec<u8>,
    /// Places of the kept items in the decompressed body.
    places: Vec<Place>,
    report: Option<Vec<u8>>,
    pub(super) selection: Selection,
}

impl Plan {
    /// Reads an envelope without its large payloads and decides what is sent of it.
    pub(super) fn new(
        encoding: Encoding,
        body: &Body,
        limits: body::Limits,
        options: Options<'_>,
    ) -> Result<Self, CopyError> {
        let opened = body::open(BodyKind::Envelope, encoding, body, limits)?;
        let Opened::Skimmed(skimmed) = &opened else { return Err(CopyError::NotLarge) };
        let envelope = opened.envelope()?;
        let selection = Selection::of(&envelope, &options);
        let kept = skimmed.places().zip(&selection.kept).filter(|(_, kept)| **kept);
        let places = kept.map(|(place, _)| place.clone());
        Ok(Self {
            header: serde_json::to_vec(&copy::header(&envelope, &options)?)?,
            places: places.collect(),
            report: options.report,
            selection,
        })
    }

    /// Returns the compressed envelope as a body that is made while it is sent.
    pub(super) fn into_body(self, encoding: Encoding, body: Body) -> reqwest::Body {
        let (sender, receiver) = mpsc::channel(CHUNKS_WAITING);
        // Detached on purpose. It ends with the envelope, or at the first piece after the request has ended.
        let writing = tokio::task::spawn_blocking(move || {
            let out = BufWriter::with_capacity(CHUNK_BYTES, Chunks(sender.clone()));
            if let Err(error) = self.write(encoding, &body, out) {
                // Without it, the request would end as if the envelope was complete.
                let failed = sender.blocking_send(Err(error));
                drop(failed);
            }
        });
        drop(writing);
        reqwest::Body::wrap_stream(futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|chunk| (chunk, receiver))
        }))
    }

    fn write(&self, encoding: Encoding, body: &Body, out: impl Write) -> io::Result<()> {
        let mut reader = body::decompressing(encoding, body)?;
        let mut out = GzEncoder::new(out, Compression::fast());
        out.write_all(&self.header)?;
        out.write_all(b"\n")?;
        let mut at = 0;
        for part in self.places.iter().flat_map(|place| [&place.header, &place.payload]) {
            exactly(&mut reader, part.start - at, &mut io::sink())?;
            exactly(&mut reader, part.end - part.start, &mut out)?;
            out.write_all(b"\n")?;
            at = part.end;
        }
        if let Some(report) = &self.report {
            out.write_all(report)?;
        }
        out.finish()?.flush()
    }
}

/// Copies this many bytes.
fn exactly(reader: &mut impl io::Read, bytes: u64, out: &mut impl Write) -> io::Result<()> {
    let copied = io::copy(&mut reader.take(bytes), out)?;
    if copied == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Hands written bytes to the connection, and waits for it.
struct Chunks(mpsc::Sender<io::Result<Bytes>>);

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_free_again_after_a_copy() {
        let room = FileRoom::default();
        let first = room.take(FILE_BYTES_MAX - 1).expect("room");
        let second = room.take(1).expect("room");
        assert!(room.take(1).is_none(), "it is full");
        drop(first);
        assert!(room.take(FILE_BYTES_MAX).is_none(), "the second is still there");
        drop(second);
        assert!(room.take(FILE_BYTES_MAX).is_some());
    }
}
