//! Reads stored records, one by its location or all in order, and skips damage.

use std::{fs::File, io, os::unix::fs::FileExt, path::PathBuf, sync::Arc};

use super::{
    body::{Blob, Body},
    frame::{BodyKind, Encoding, Frame, FrameError, Layout},
    progress::Location,
    segment::{self, Found, Scan},
};

/// Largest body that is read into memory. A longer one stays in its file.
const BODY_MEMORY_MAX: u64 = 4 * 1024 * 1024;

/// A stored record.
#[derive(Debug)]
pub struct Stored {
    /// Position in the order of arrival.
    pub seq: u64,
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
}

/// Reads records. The last segment stays open, because neighbouring records are read together.
#[derive(Debug)]
pub struct Reader {
    directory: PathBuf,
    open: Option<Open>,
}

#[derive(Clone, Debug)]
struct Open {
    base: u64,
    file: Arc<File>,
    layout: Layout,
}

/// Position in the order of arrival from which reading continues.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    /// Next `seq` to read. If it is lost or deleted, the first stored one after it is read.
    pub next_seq: u64,
    /// Segment and offset of the next record, when they are known. Otherwise its segment is searched.
    pub at: Option<(u64, u64)>,
}

impl Reader {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, open: None }
    }

    /// Returns the record at a location. `None` means that it was deleted or is damaged.
    ///
    /// Damage is reported.
    pub fn read(&mut self, location: Location) -> io::Result<Option<Stored>> {
        let Some(open) = self.open(location.segment)? else { return Ok(None) };
        match open.layout.check(&open.file, location.offset, open.file.metadata()?.len()) {
            Ok(frame) => stored(&open.file, frame).map(Some),
            Err(FrameError::Damaged(_)) => {
                let end = location.offset + location.bytes;
                segment::report_damage(&self.directory, open.base, &open.file, location.offset, end);
                Ok(None)
            }
            Err(FrameError::Io(error)) => Err(error),
            Err(unknown @ FrameError::Unknown) => Err(io::Error::other(unknown)),
        }
    }

    /// Returns the next stored record and its location, and moves the cursor behind it. `None` means that there is none.
    ///
    /// The caller must know that the record is durable.
    pub fn next(&mut self, cursor: &mut Cursor) -> io::Result<Option<(Stored, Location)>> {
        let mut segment = match cursor.at {
            Some((segment, _)) => Some(segment),
            None => segment::list(&self.directory)?.into_iter().rev().find(|base| *base <= cursor.next_seq),
        };
        // A cursor before the first stored record begins with the first segment.
        segment = segment.or(segment::list(&self.directory)?.first().copied());
        let mut at = cursor.at.map(|(_, offset)| offset);
        while let Some(base) = segment {
            if let Some(open) = self.open(base)?
                && let Some(frame) = self.first_in_segment(&open, at, cursor.next_seq)?
            {
                let location = Location { segment: base, offset: frame.offset, bytes: frame.bytes };
                let stored = stored(&open.file, frame)?;
                *cursor = Cursor { next_seq: stored.seq + 1, at: Some((base, frame.offset + frame.bytes)) };
                return Ok(Some((stored, location)));
            }
            segment = segment::list(&self.directory)?.into_iter().find(|next| *next > base);
            at = None;
        }
        Ok(None)
    }

    /// Returns the first record of a segment, from an offset on, whose `seq` is not below the given one.
    fn first_in_segment(&self, open: &Open, at: Option<u64>, seq: u64) -> io::Result<Option<Frame>> {
        let file_bytes = open.file.metadata()?.len();
        let (offset, next_seq) = at.map_or((open.layout.first_offset(), open.base), |offset| (offset, seq));
        let mut scan = Scan { file: &open.file, layout: open.layout, at: offset, file_bytes, next_seq };
        loop {
            match scan.next()? {
                Found::Record(frame) if frame.meta.seq >= seq => return Ok(Some(frame)),
                Found::Record(_) => {}
                Found::Damage { from, to } => {
                    segment::report_damage(&self.directory, open.base, &open.file, from, to);
                }
                Found::End { at } => {
                    // The writer may be writing behind the end of the last segment, so that is not reported as damage.
                    let is_last = segment::list(&self.directory)?.last() == Some(&open.base);
                    if at < file_bytes && !is_last {
                        segment::report_damage(&self.directory, open.base, &open.file, at, file_bytes);
                    }
                    return Ok(None);
                }
            }
        }
    }

    fn open(&mut self, base: u64) -> io::Result<Option<Open>> {
        if self.open.as_ref().is_none_or(|open| open.base != base) {
            let file = match File::open(segment::path(&self.directory, base)) {
                Ok(file) => Arc::new(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            let Some(layout) = Layout::of(&file, base)? else { return Ok(None) };
            self.open = Some(Open { base, file, layout });
        }
        Ok(self.open.clone())
    }
}

fn stored(file: &Arc<File>, frame: Frame) -> io::Result<Stored> {
    let Frame { meta, body_offset, body_bytes, .. } = frame;
    let body = if body_bytes <= BODY_MEMORY_MAX {
        let mut bytes = vec![0; usize::try_from(body_bytes).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, body_offset)?;
        Body::from(bytes)
    } else {
        Body::File(Blob { file: Arc::clone(file), offset: body_offset, bytes: body_bytes })
    };
    let (seq, received_at_us, project) = (meta.seq, meta.received_at_us, meta.project);
    Ok(Stored { seq, received_at_us, project, kind: meta.kind, encoding: meta.encoding, body })
}
