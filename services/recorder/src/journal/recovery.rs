//! The start: find the end of what was kept, and put aside what a crash left half-written behind it.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
};

use super::{
    Options,
    progress::State,
    segment::{self, FIRST_OFFSET},
};

/// The segment that is written to.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) file: File,
    pub(super) base: u64,
    pub(super) end: u64,
    pub(super) next_seq: u64,
}

/// A segment that is complete.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closed {
    pub(super) base: u64,
    pub(super) bytes: u64,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) active: Active,
    pub(super) segments: VecDeque<Closed>,
    pub(super) state: State,
}

pub(super) fn recover(options: &Options) -> io::Result<Recovered> {
    fs::create_dir_all(&options.directory)?;
    let mut bases = segment::list(&options.directory)?;
    let active = match bases.pop() {
        Some(base) => reopen(options, base)?,
        None => {
            Active { file: segment::create(&options.directory, 1)?, base: 1, end: FIRST_OFFSET, next_seq: 1 }
        }
    };
    let mut segments = VecDeque::new();
    for base in bases {
        let bytes = fs::metadata(segment::path(&options.directory, base))?.len();
        segments.push_back(Closed { base, bytes });
    }
    let floor = segments.front().map_or(active.base, |segment| segment.base);
    let bytes = segments.iter().map(|segment| segment.bytes).sum::<u64>() + active.end;
    let state = State { durable: active.next_seq - 1, floor, bytes, failed: false };
    Ok(Recovered { active, segments, state })
}

fn reopen(options: &Options, base: u64) -> io::Result<Active> {
    let file = segment::open(&options.directory, base)?;
    let found = segment::extent(&file, base)?;
    let length = file.metadata()?.len();
    if found.end < FIRST_OFFSET {
        // The crash came between making the file and writing its first bytes.
        let file = segment::create(&options.directory, base)?;
        return Ok(Active { file, base, end: FIRST_OFFSET, next_seq: base });
    }
    if found.end < length {
        put_aside(options, &file, base, found.end, length)?;
    }
    Ok(Active { file, base, end: found.end, next_seq: found.next_seq })
}

/// Nothing behind the last whole record was ever answered with 200; it is cut off, and kept for whoever wants to know.
fn put_aside(options: &Options, file: &File, base: u64, end: u64, length: u64) -> io::Result<()> {
    let bytes = usize::try_from(length - end).map_err(io::Error::other)?;
    let mut torn = vec![0; bytes];
    file.read_exact_at(&mut torn, end)?;
    fs::write(segment::torn_path(&segment::path(&options.directory, base)), &torn)?;
    file.set_len(end)?;
    file.sync_all()?;
    tracing::warn!(segment.base = base, torn_bytes = bytes, "the journal's torn end was cut off");
    Ok(())
}
