//! Append-only file of records, named after the first `seq` that it may hold.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use flate2::CrcReader;
use uuid::Uuid;

use super::{
    body::{Blob, Body},
    frame::{Frame, FrameError, Layout, MARKER_BYTES},
};

/// First bytes of a segment, which name the format and its version. The marker follows twice.
const MAGIC: &[u8; 16] = b"pitboss-journal2";
/// First bytes of a segment of the first layout, which has no marker.
const MAGIC_1: &[u8; 16] = b"pitboss-journal1";
/// Extension of a segment's file name.
const ENDING: &str = "segment";
/// Size of the pieces in which a marker is searched.
const CHUNK_BYTES: usize = 64 * 1024;

/// Returns the path of a segment.
pub(super) fn path(directory: &Path, base: u64) -> PathBuf {
    directory.join(format!("{base:020}.{ENDING}"))
}

/// Returns the bases of all segments in ascending order.
pub(super) fn list(directory: &Path) -> io::Result<Vec<u64>> {
    let mut bases = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == ENDING) {
            let base = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            bases.push(base.ok_or_else(|| io::Error::other(format!("{} is not a segment", path.display())))?);
        }
    }
    bases.sort_unstable();
    Ok(bases)
}

/// Creates an empty segment that survives a power cut.
pub(super) fn create(directory: &Path, base: u64) -> io::Result<(File, Layout)> {
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path(directory, base))?;
    let mut marker = [0; MARKER_BYTES];
    marker.copy_from_slice(&Uuid::new_v4().as_bytes()[..MARKER_BYTES]);
    file.write_all_at(&[&MAGIC[..], &marker, &marker].concat(), 0)?;
    file.sync_all()?;
    sync_directory(directory)?;
    Ok((file, Layout { marker: Some(marker) }))
}

/// Opens a segment for appending.
pub(super) fn open(directory: &Path, base: u64) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path(directory, base))
}

/// Deletes a segment and its quarantined bytes.
pub(super) fn remove(directory: &Path, base: u64) -> io::Result<()> {
    let aside = format!("{base:020}-");
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&aside) {
            fs::remove_file(entry.path())?;
        }
    }
    match fs::remove_file(path(directory, base)) {
        // An earlier attempt removed it and failed afterwards.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => removed?,
    }
    sync_directory(directory)
}

/// Makes the entries of the directory survive a power cut.
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

impl Layout {
    /// Returns the offset of the first record of a segment.
    pub(super) fn first_offset(self) -> u64 {
        (MAGIC.len() + self.marker.map_or(0, |marker| 2 * marker.len())) as u64
    }

    /// Returns the layout of a segment. `None` means that it has no record and no intact header, after a crash or damage.
    ///
    /// Damage at one place of a segment with records is harmless, because the marker stands in the header twice and again
    /// before the first record.
    pub(super) fn of(file: &File, base: u64) -> io::Result<Option<Self>> {
        let mut begin = Vec::new();
        let wanted = (MAGIC.len() + 3 * MARKER_BYTES) as u64;
        Body::File(Blob {
            file: file.try_clone()?.into(),
            offset: 0,
            bytes: file.metadata()?.len().min(wanted),
        })
        .reader()
        .read_to_end(&mut begin)?;
        if begin.starts_with(MAGIC_1) {
            return Ok(Some(Self { marker: None }));
        }
        let Some((magic, markers)) = begin.split_at_checked(MAGIC.len()) else { return Ok(None) };
        let (copies, _) = markers.as_chunks::<MARKER_BYTES>();
        if copies.len() < 2 {
            return Ok(None);
        }
        let twice = copies.iter().find(|copy| copies.iter().filter(|other| other == copy).count() > 1);
        let Some(marker) = twice.filter(|marker| **marker != [0; MARKER_BYTES]) else {
            // Without a third copy there is no record, so nothing is lost.
            if magic == MAGIC && copies.len() < 3 {
                tracing::error!(
                    segment.base = base,
                    "the first bytes of an empty journal segment are damaged"
                );
                return Ok(None);
            }
            return Err(io::Error::other(format!("segment {base} has no valid header")));
        };
        if magic != MAGIC || copies[0] != copies[1] {
            tracing::error!(segment.base = base, "the first bytes of a journal segment are damaged");
        }
        Ok(Some(Self { marker: Some(*marker) }))
    }
}

/// Next finding in a segment.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found {
    /// An intact record.
    Record(Frame),
    /// Bytes that are not a record, and the offset of the record behind them.
    Damage { from: u64, to: u64 },
    /// No further record.
    End { at: u64 },
}

/// Reads a segment record by record and skips damage.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    pub(super) file: &'a File,
    pub(super) layout: Layout,
    /// Offset of the next read.
    pub(super) at: u64,
    /// Number of bytes of the file that are scanned.
    pub(super) file_bytes: u64,
    /// Next `seq` if nothing is lost.
    pub(super) next_seq: u64,
}

impl Scan<'_> {
    pub(super) fn next(&mut self) -> io::Result<Found> {
        let mut at = self.at;
        loop {
            if let Some(frame) = self.record(at)? {
                let from = self.at;
                self.at = at;
                if at > from {
                    self.next_seq = frame.meta.seq;
                    return Ok(Found::Damage { from, to: at });
                }
                self.at = at + frame.bytes;
                self.next_seq = frame.meta.seq + 1;
                return Ok(Found::Record(frame));
            }
            match self.next_candidate(at)? {
                Some(candidate) => at = candidate,
                None => return Ok(Found::End { at: self.at }),
            }
        }
    }

    /// Returns the record at an offset if it can come next.
    fn record(&self, at: u64) -> io::Result<Option<Frame>> {
        match self.layout.check(self.file, at, self.file_bytes) {
            Ok(frame) if frame.meta.seq == self.next_seq => Ok(Some(frame)),
            // Behind damage records are missing, but not more than the damaged bytes can have held.
            Ok(frame) if at > self.at => {
                let lost_max = (at - self.at) / self.layout.frame_bytes_min() + 1;
                let possible = self.next_seq..=self.next_seq + lost_max;
                Ok(possible.contains(&frame.meta.seq).then_some(frame))
            }
            Ok(_) | Err(FrameError::Damaged(_)) => Ok(None),
            Err(FrameError::Unknown) => Err(io::Error::other(FrameError::Unknown)),
            Err(FrameError::Io(error)) => Err(error),
        }
    }

    /// Returns the offset behind `at` where a record may begin, which is that of the next marker. Without markers, only the
    /// length field of the damaged record leads to the next one.
    fn next_candidate(&self, at: u64) -> io::Result<Option<u64>> {
        let Some(marker) = self.layout.marker else { return self.offset_after_length(at) };
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut from = at + 1;
        while from + MARKER_BYTES as u64 <= self.file_bytes {
            let left = usize::try_from(self.file_bytes - from).unwrap_or(usize::MAX);
            let piece = &mut chunk[..left.min(CHUNK_BYTES)];
            self.file.read_exact_at(piece, from)?;
            if let Some(found) = piece.windows(MARKER_BYTES).position(|window| window == marker) {
                return Ok(Some(from + found as u64));
            }
            from += (piece.len() - (MARKER_BYTES - 1)) as u64;
        }
        Ok(None)
    }

    fn offset_after_length(&self, at: u64) -> io::Result<Option<u64>> {
        let mut length = [0; 4];
        if at + self.layout.frame_bytes_min() > self.file_bytes {
            return Ok(None);
        }
        self.file.read_exact_at(&mut length, at)?;
        let next = at + 8 + u64::from(u32::from_le_bytes(length));
        Ok((at == self.at && next < self.file_bytes).then_some(next))
    }
}

/// Copies bytes that are not a record to a separate file for inspection. Returns false when that file exists already.
pub(super) fn quarantine(
    directory: &Path,
    base: u64,
    file: &File,
    from: u64,
    to: u64,
    ending: &str,
) -> io::Result<bool> {
    let bytes = Body::File(Blob { file: file.try_clone()?.into(), offset: from, bytes: to - from });
    let mut checked = CrcReader::new(bytes.reader());
    io::copy(&mut checked, &mut io::sink())?;
    let path = directory.join(format!("{base:020}-{from:020}-{:08x}.{ending}", checked.crc().sum()));
    if path.exists() {
        return Ok(false);
    }
    let mut aside = File::create(path)?;
    io::copy(&mut bytes.reader(), &mut aside)?;
    aside.sync_all()?;
    Ok(true)
}

/// Quarantines damaged bytes and logs the loss, once for each place however often it is found.
pub(super) fn report_damage(directory: &Path, base: u64, file: &File, from: u64, to: u64) {
    match quarantine(directory, base, file, from, to, "damaged") {
        Ok(true) => tracing::error!(
            segment.base = base,
            segment.offset = from,
            damaged_bytes = to - from,
            "a journal segment is damaged: the damaged records are lost, the records after them are still read"
        ),
        Ok(false) => tracing::debug!(segment.base = base, segment.offset = from, "known damage"),
        Err(error) => tracing::error!(
            segment.base = base, segment.offset = from, error = %error,
            "a journal segment is damaged, and the damaged bytes could not be copied to a separate file"
        ),
    }
}

#[cfg(test)]
mod tests;
