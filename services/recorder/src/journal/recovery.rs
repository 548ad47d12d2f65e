//! Recovers the journal at the start: it finds the end of the stored records, skips damage and cuts off a half-written end.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io,
};

use super::{
    Options,
    frame::Layout,
    progress::State,
    segment::{self, Found, Scan},
};

/// Segment that the writer appends to.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) file: File,
    pub(super) layout: Layout,
    pub(super) base: u64,
    pub(super) end: u64,
    pub(super) next_seq: u64,
}

impl Active {
    /// Creates an empty segment.
    pub(super) fn create(options: &Options, base: u64) -> io::Result<Self> {
        let (file, layout) = segment::create(&options.directory, base)?;
        Ok(Self { file, layout, base, end: layout.first_offset(), next_seq: base })
    }
}

/// A complete segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closed {
    pub(super) base: u64,
    pub(super) bytes: u64,
}

/// Result of the recovery.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) active: Active,
    pub(super) segments: VecDeque<Closed>,
    pub(super) state: State,
}

pub(super) fn recover(options: &Options) -> io::Result<Recovered> {
    fs::create_dir_all(&options.directory)?;
    let mut bases = segment::list(&options.directory)?;
    let last = bases.pop().map(|base| reopen(options, base)).transpose()?;
    let mut segments = VecDeque::new();
    for base in bases {
        let bytes = fs::metadata(segment::path(&options.directory, base))?.len();
        segments.push_back(Closed { base, bytes });
    }
    let active = match last {
        // A segment of the first layout is read as long as it is retained, but not written to any more.
        Some(last) if last.layout.marker.is_none() && last.next_seq > last.base => {
            segments.push_back(Closed { base: last.base, bytes: last.end });
            Active::create(options, last.next_seq)?
        }
        Some(last) if last.layout.marker.is_none() => Active::create(options, last.base)?,
        Some(last) => last,
        None => Active::create(options, 1)?,
    };
    let floor = segments.front().map_or(active.base, |segment| segment.base);
    let bytes = segments.iter().map(|segment| segment.bytes).sum::<u64>() + active.end;
    let state = State { durable: active.next_seq - 1, floor, bytes, failed: false };
    Ok(Recovered { active, segments, state })
}

fn reopen(options: &Options, base: u64) -> io::Result<Active> {
    let file = segment::open(&options.directory, base)?;
    // A crash came between creating the file and writing its first bytes, or the header of an empty segment is damaged.
    let Some(layout) = Layout::of(&file, base)? else { return Active::create(options, base) };
    let file_bytes = file.metadata()?.len();
    let mut scan = Scan { file: &file, layout, at: layout.first_offset(), file_bytes, next_seq: base };
    let end = loop {
        match scan.next()? {
            Found::Record(_) => {}
            Found::Damage { from, to } => segment::report_damage(&options.directory, base, &file, from, to),
            Found::End { at } => break at,
        }
    };
    let next_seq = scan.next_seq;
    if end < file_bytes {
        // Nothing behind the last intact record was acknowledged, unless the disk has damaged the very last record.
        segment::quarantine(&options.directory, base, &file, end, file_bytes, "torn")?;
        file.set_len(end)?;
        file.sync_all()?;
        let torn_bytes = file_bytes - end;
        tracing::warn!(segment.base = base, torn_bytes, "the incomplete end of the journal was cut off");
    }
    Ok(Active { file, layout, base, end, next_seq })
}
