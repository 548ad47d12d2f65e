//! One append-only file of records, named after the first `seq` that it may hold.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::frame::{self, HEAD_BYTES};

/// What every segment begins with: whose file it is, and the version of its layout.
const MAGIC: &[u8; 16] = b"pitboss-journal1";
/// Where the first record begins.
pub(super) const FIRST_OFFSET: u64 = MAGIC.len() as u64;
/// Ending of a segment's file name.
const ENDING: &str = "segment";

/// A segment's path.
pub(super) fn path(directory: &Path, base: u64) -> PathBuf {
    directory.join(format!("{base:020}.{ENDING}"))
}

/// Bases of all segments, ascending.
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

/// Makes a new, empty segment that survives a power cut.
pub(super) fn create(directory: &Path, base: u64) -> io::Result<File> {
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path(directory, base))?;
    file.write_all_at(MAGIC, 0)?;
    file.sync_all()?;
    sync_directory(directory)?;
    Ok(file)
}

/// Opens a segment for appending.
pub(super) fn open(directory: &Path, base: u64) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path(directory, base))
}

/// Deletes a segment and what recovery once cut off it.
pub(super) fn remove(directory: &Path, base: u64) -> io::Result<()> {
    let path = path(directory, base);
    match fs::remove_file(torn_path(&path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::remove_file(path)?;
    sync_directory(directory)
}

/// Where the bytes behind the last whole record are put aside.
pub(super) fn torn_path(path: &Path) -> PathBuf {
    path.with_extension("torn")
}

/// Makes the directory's own entries survive a power cut.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Where the whole records of a segment end, and how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) end: u64,
    pub(super) next_seq: u64,
}

/// Reads a segment to the end of its last whole record.
pub(super) fn extent(file: &File, base: u64) -> io::Result<Extent> {
    let length = file.metadata()?.len();
    let mut magic = [0; MAGIC.len()];
    if length < FIRST_OFFSET {
        return Ok(Extent { end: 0, next_seq: base });
    }
    file.read_exact_at(&mut magic, 0)?;
    if magic != *MAGIC {
        return Err(io::Error::other(format!("segment {base} does not begin as one")));
    }
    let mut extent = Extent { end: FIRST_OFFSET, next_seq: base };
    let mut record = Vec::new();
    while let Some(bytes) = whole_record(file, extent, length, &mut record)? {
        extent = Extent { end: extent.end + bytes, next_seq: extent.next_seq + 1 };
    }
    Ok(extent)
}

/// Length of the record at the end of `extent`, if it is whole, unharmed and the expected one.
fn whole_record(file: &File, extent: Extent, length: u64, buffer: &mut Vec<u8>) -> io::Result<Option<u64>> {
    if length - extent.end < HEAD_BYTES as u64 {
        return Ok(None);
    }
    let mut head = [0; HEAD_BYTES];
    file.read_exact_at(&mut head, extent.end)?;
    let Ok(bytes) = frame::record_length(head) else { return Ok(None) };
    let whole = (HEAD_BYTES + bytes) as u64;
    if length - extent.end < whole {
        return Ok(None);
    }
    buffer.resize(bytes, 0);
    file.read_exact_at(buffer, extent.end + HEAD_BYTES as u64)?;
    match frame::decode(head, buffer) {
        Ok(record) if record.seq == extent.next_seq => Ok(Some(whole)),
        Err(frame::FrameError::Unknown) => Err(io::Error::other("a record of a newer version")),
        _ => Ok(None),
    }
}
