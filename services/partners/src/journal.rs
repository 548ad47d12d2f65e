//! File of JSON lines. A line is synced to disk before its writer continues, and all lines are read back at start.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reason why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Error of the disk.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A line before the end of the file cannot be parsed.
    #[error("line {line} of the journal is not a valid entry")]
    Damaged {
        /// Line number, counted from 1.
        line: u64,
    },
    /// The file does not hold what was read or written before, so another process writes to it.
    #[error("another process changed the journal; only one process may use its folder")]
    Changed,
    /// An entry cannot be encoded as JSON. This is a bug in this service.
    #[error("an entry cannot be encoded as JSON: {0}")]
    Unwritable(#[from] serde_json::Error),
    /// An earlier write failed half-way and could not be undone. Only a restart reads the true content again.
    #[error("an earlier write to the journal failed; restart the service")]
    Broken,
}

/// Journal file, open for appending.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    bytes: u64,
    is_broken: bool,
}

impl Journal {
    /// Opens the file and passes each entry to `on_entry`, with the offset where it begins. A last line without an end was never
    /// acknowledged and is cut off.
    pub(crate) fn open<T: DeserializeOwned>(
        path: &Path,
        on_entry: impl FnMut(u64, T),
    ) -> Result<Self, JournalError> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let bytes = read_all(&file, on_entry)?;
        file.set_len(bytes)?;
        file.sync_all()?;
        Ok(Self { file, bytes, is_broken: false })
    }

    /// Returns the offset of the next entry.
    pub(crate) fn end(&self) -> u64 {
        self.bytes
    }

    /// Reads the entries again from offset `from` up to `to`. Each must be the offset of an entry, or the end of the file.
    pub(crate) fn read<T: DeserializeOwned>(&self, from: u64, to: u64) -> Result<Vec<T>, JournalError> {
        let mut bytes = vec![0; usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut bytes, from)?;
        let lines = bytes.split_inclusive(|byte| *byte == b'\n');
        lines.map(|line| serde_json::from_slice(line).map_err(|_| JournalError::Changed)).collect()
    }

    /// Appends one entry, which is on disk when this returns. A failed write is undone.
    pub(crate) fn append<T: Serialize>(&mut self, entry: &T) -> Result<(), JournalError> {
        if self.is_broken {
            return Err(JournalError::Broken);
        }
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            let undone = self.file.set_len(self.bytes).and_then(|()| self.file.sync_data());
            self.is_broken = undone.is_err();
            return Err(error.into());
        }
        self.bytes = self.bytes.saturating_add(u64::try_from(line.len()).unwrap_or(u64::MAX));
        Ok(())
    }
}

fn read_all<T: DeserializeOwned>(
    mut file: &File,
    mut on_entry: impl FnMut(u64, T),
) -> Result<u64, JournalError> {
    file.seek(SeekFrom::Start(0))?;
    let mut reader = BufReader::new(file);
    let mut bytes: u64 = 0;
    let mut number: u64 = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)?;
        if read == 0 || line.last() != Some(&b'\n') {
            return Ok(bytes);
        }
        number = number.saturating_add(1);
        on_entry(bytes, serde_json::from_slice(&line).map_err(|_| JournalError::Damaged { line: number })?);
        bytes = bytes.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torn_last_line_is_cut_and_damaged_line_fails() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let open = || {
            let mut entries = Vec::new();
            Journal::open(&path, |offset, entry: u32| entries.push((offset, entry)))
                .map(|journal| (journal, entries))
        };
        let (mut journal, entries) = open().unwrap();
        assert!(entries.is_empty());
        journal.append(&1).unwrap();
        journal.append(&2).unwrap();
        std::fs::write(&path, b"1\n2\n3").unwrap();
        let (mut journal, entries) = open().unwrap();
        assert_eq!(entries, [(0, 1), (2, 2)]);
        journal.append(&4).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"1\n2\n4\n");
        assert_eq!(journal.read::<u32>(2, journal.end()).unwrap(), [2, 4]);
        assert_eq!(journal.read::<u32>(0, 2).unwrap(), [1]);
        std::fs::write(&path, b"1\nx\n3\n").unwrap();
        assert!(matches!(open(), Err(JournalError::Damaged { line: 2 })));
        assert!(matches!(journal.read::<u32>(0, 4), Err(JournalError::Changed)));
    }
}
