//! Reads kept records: one by its place, or all in order.

use std::{fs::File, io, os::unix::fs::FileExt, path::PathBuf};

use super::{
    frame::{self, BodyKind, Encoding, HEAD_BYTES},
    progress::Place,
    segment::{self, FIRST_OFFSET},
};

/// A record as it was kept.
#[derive(Debug)]
pub struct Stored {
    /// Its place in the order of arrival.
    pub seq: u64,
    /// When it arrived, in microseconds since the epoch.
    pub received_at_us: u64,
    /// Numeric id of the project.
    pub project: u32,
    /// Envelope or single event.
    pub kind: BodyKind,
    /// How the body is compressed.
    pub encoding: Encoding,
    /// The body as it came.
    pub body: Vec<u8>,
}

/// Reads records; keeps the last segment open, since neighbours are read together.
#[derive(Debug)]
pub struct Reader {
    directory: PathBuf,
    open: Option<(u64, File)>,
}

/// A place in the order of arrival, for reading on from.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    /// The `seq` that is read next.
    pub next_seq: u64,
    /// Where it is, where that is known; else its segment is searched.
    pub at: Option<(u64, u64)>,
}

impl Reader {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, open: None }
    }

    /// The record at a place; `None` when it was deleted meanwhile.
    ///
    /// # Errors
    /// When the file cannot be read or its bytes are not those that were written.
    pub fn read(&mut self, place: Place) -> io::Result<Option<Stored>> {
        let Some(file) = self.file(place.segment)? else { return Ok(None) };
        read_at(file, place.offset).map(|(stored, _)| Some(stored))
    }

    /// The next record and its place, and moves the cursor behind it; `None` when that `seq` was deleted.
    ///
    /// The caller knows that the record is durable.
    ///
    /// # Errors
    /// When the segments cannot be read or do not hold what they should.
    pub fn next(&mut self, cursor: &mut Cursor) -> io::Result<Option<(Stored, Place)>> {
        let Some((segment, offset)) = self.find(cursor)? else { return Ok(None) };
        let Some(file) = self.file(segment)? else { return Ok(None) };
        let (stored, bytes) = read_at(file, offset)?;
        if stored.seq != cursor.next_seq {
            return Err(io::Error::other(format!(
                "found record {} instead of {}",
                stored.seq, cursor.next_seq
            )));
        }
        *cursor = Cursor { next_seq: stored.seq + 1, at: Some((segment, offset + bytes)) };
        Ok(Some((stored, Place { segment, offset, bytes })))
    }

    /// Where the cursor's record begins.
    fn find(&mut self, cursor: &Cursor) -> io::Result<Option<(u64, u64)>> {
        if let Some((segment, offset)) = cursor.at
            && let Some(file) = self.file(segment)?
            && offset < file.metadata()?.len()
            && !segment::path(&self.directory, cursor.next_seq).exists()
        {
            return Ok(Some((segment, offset)));
        }
        let bases = segment::list(&self.directory)?;
        let Some(base) = bases.into_iter().rev().find(|base| *base <= cursor.next_seq) else {
            return Ok(None);
        };
        let Some(file) = self.file(base)? else { return Ok(None) };
        let mut offset = FIRST_OFFSET;
        for _ in base..cursor.next_seq {
            let mut head = [0; HEAD_BYTES];
            file.read_exact_at(&mut head, offset)?;
            offset += (HEAD_BYTES + frame::record_length(head).map_err(io::Error::other)?) as u64;
        }
        Ok(Some((base, offset)))
    }

    fn file(&mut self, segment: u64) -> io::Result<Option<&File>> {
        if self.open.as_ref().is_none_or(|(base, _)| *base != segment) {
            match File::open(segment::path(&self.directory, segment)) {
                Ok(file) => self.open = Some((segment, file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(self.open.as_ref().map(|(_, file)| file))
    }
}

/// The record at an offset, and how many bytes it takes.
fn read_at(file: &File, offset: u64) -> io::Result<(Stored, u64)> {
    let mut head = [0; HEAD_BYTES];
    file.read_exact_at(&mut head, offset)?;
    let length = frame::record_length(head).map_err(io::Error::other)?;
    let mut record = vec![0; length];
    file.read_exact_at(&mut record, offset + HEAD_BYTES as u64)?;
    let decoded = frame::decode(head, &record).map_err(io::Error::other)?;
    let (seq, received_at_us, project) = (decoded.seq, decoded.received_at_us, decoded.project);
    let (kind, encoding) = (decoded.kind, decoded.encoding);
    let fixed = record.len() - decoded.body.len();
    record.drain(..fixed);
    Ok((Stored { seq, received_at_us, project, kind, encoding, body: record }, (HEAD_BYTES + length) as u64))
}
