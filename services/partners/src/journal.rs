//! A file of JSON lines that is synced before anybody hears of a line, and read back at the start.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A line in the middle is not one of ours.
    #[error("line {line} of the journal cannot be read")]
    Damaged {
        /// Counted from 1.
        line: u64,
    },
    /// What stands in the file now is not what was read or written: somebody else writes to it.
    #[error("the journal was changed by somebody else")]
    Changed,
    /// Something cannot be written as JSON: a mistake of ours.
    #[error("an entry cannot be written: {0}")]
    Unwritable(#[from] serde_json::Error),
    /// An earlier write failed half-way and could not be undone; only a restart reads the truth again.
    #[error("an earlier write failed")]
    Broken,
}

/// The file, at its end.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    bytes: u64,
    broken: bool,
}

impl Journal {
    /// Opens the file and hands over what is in it, entry by entry, each with the place where it begins. A last line without an
    /// end was never answered for: it is cut off.
    pub(crate) fn open<T: DeserializeOwned>(
        path: &Path,
        read: impl FnMut(u64, T),
    ) -> Result<Self, JournalError> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let bytes = read_all(&file, read)?;
        file.set_len(bytes)?;
        file.sync_all()?;
        Ok(Self { file, bytes, broken: false })
    }

    /// Where the next entry begins.
    pub(crate) fn end(&self) -> u64 {
        self.bytes
    }

    /// Reads the entries again that begin at `from` and end before `to`, each of which is the place of an entry, or the end.
    pub(crate) fn read<T: DeserializeOwned>(&self, from: u64, to: u64) -> Result<Vec<T>, JournalError> {
        let mut bytes = vec![0; usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut bytes, from)?;
        let lines = bytes.split_inclusive(|byte| *byte == b'\n');
        lines.map(|line| serde_json::from_slice(line).map_err(|_| JournalError::Changed)).collect()
    }

    /// Appends one entry; when this returns, it is on disk. A failed write leaves nothing behind.
    pub(crate) fn append<T: Serialize>(&mut self, entry: &T) -> Result<(), JournalError> {
        if self.broken {
            return Err(JournalError::Broken);
        }
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            let undone = self.file.set_len(self.bytes).and_then(|()| self.file.sync_data());
            self.broken = undone.is_err();
            return Err(error.into());
        }
        self.bytes = self.bytes.saturating_add(u64::try_from(line.len()).unwrap_or(u64::MAX));
        Ok(())
    }
}

fn read_all<T: DeserializeOwned>(
    mut file: &File,
    mut entry: impl FnMut(u64, T),
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
        entry(bytes, serde_json::from_slice(&line).map_err(|_| JournalError::Damaged { line: number })?);
        bytes = bytes.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_last_line_is_cut_off_and_a_damaged_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let open = || {
            let mut entries = Vec::new();
            Journal::open(&path, |place, entry: u32| entries.push((place, entry)))
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
