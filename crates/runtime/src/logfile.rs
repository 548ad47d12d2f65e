//! Logs that cannot fill a disk: one file and one older one per part, and reading their ends.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// When a log is this long it becomes the older one; so a part's logs never hold more than twice this.
pub const LOG_BYTES_MAX: u64 = 8 << 20;

/// The end of a log that is read for its last lines.
const TAIL_BYTES_MAX: u64 = 256 << 10;

/// A log that is written.
#[derive(Debug)]
pub struct LogWriter {
    path: PathBuf,
    file: File,
    length: u64,
    length_max: u64,
}

impl LogWriter {
    /// Opens the log for appending.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path, length_max: u64) -> std::io::Result<Self> {
        let file = append(path)?;
        let length = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, length, length_max })
    }

    /// Appends; a log that would become too long is set aside first, in the place of the one set aside before.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        if self.length > 0 && self.length.saturating_add(bytes.len() as u64) > self.length_max {
            std::fs::rename(&self.path, older(&self.path))?;
            self.file = append(&self.path)?;
            self.length = 0;
        }
        self.file.write_all(bytes)?;
        self.length = self.length.saturating_add(bytes.len() as u64);
        Ok(())
    }
}

impl std::io::Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.append(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn append(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn older(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

/// The last `count` lines of a log; none where there is no log.
#[must_use]
pub fn tail(path: &Path, count: usize) -> Vec<String> {
    let mut lines = last_lines(path, count);
    if lines.len() < count {
        let mut more = last_lines(&older(path), count - lines.len());
        more.append(&mut lines);
        lines = more;
    }
    lines
}

fn last_lines(path: &Path, count: usize) -> Vec<String> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES_MAX)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let Ok(bytes) = read() else { return Vec::new() };
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    // A progress bar writes over its own line: only what was left standing is shown.
    let standing =
        |line: &&str| line.rsplit('\r').find(|part| !part.trim().is_empty()).unwrap_or_default().to_owned();
    lines.iter().skip(lines.len().saturating_sub(count)).map(standing).collect()
}

/// A log that is followed while somebody else writes it, through its being set aside.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    inode: u64,
    position: u64,
}

impl Follower {
    /// Follows from the present end.
    #[must_use]
    pub fn from_end(path: &Path) -> Self {
        let metadata = std::fs::metadata(path).ok();
        let (inode, position) = metadata.map_or((0, 0), |m| (m.ino(), m.len()));
        Self { path: path.to_owned(), inode, position }
    }

    /// What was written since the last time.
    ///
    /// # Errors
    /// When the log is there and cannot be read.
    pub fn read_new(&mut self) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let Ok(metadata) = std::fs::metadata(&self.path) else { return Ok(bytes) };
        if metadata.ino() != self.inode {
            // The rest of the file that was set aside, then the new one from its start.
            if std::fs::metadata(older(&self.path)).is_ok_and(|m| m.ino() == self.inode) {
                read_from(&older(&self.path), self.position, &mut bytes)?;
            }
            self.inode = metadata.ino();
            self.position = 0;
        }
        self.position += read_from(&self.path, self.position, &mut bytes)?;
        Ok(bytes)
    }
}

fn read_from(path: &Path, position: u64, bytes: &mut Vec<u8>) -> std::io::Result<u64> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(position))?;
    Ok(file.take(LOG_BYTES_MAX).read_to_end(bytes)? as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_bounded_and_its_end_is_found_across_both_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("game.log");
        let mut log = LogWriter::open(&path, 100).unwrap();
        for n in 0..1_000 {
            log.append(format!("line {n}\n").as_bytes()).unwrap();
        }
        let size = |p: &Path| std::fs::metadata(p).unwrap().len();
        assert!(size(&path) <= 100 && size(&older(&path)) <= 100);
        assert_eq!(tail(&path, 2), ["line 998", "line 999"]);
        assert_eq!(tail(&path, 12).len(), 12);
        assert_eq!(tail(&path, 12)[0], "line 988");
        assert!(tail(&folder.path().join("none.log"), 5).is_empty());
    }

    #[test]
    fn following_loses_nothing_when_the_log_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("game.log");
        let mut log = LogWriter::open(&path, 100).unwrap();
        log.append(b"before\n").unwrap();
        let mut follower = Follower::from_end(&path);
        let mut seen = Vec::new();
        let mut written = Vec::new();
        for n in 0..100 {
            let line = format!("line {n}\n");
            log.append(line.as_bytes()).unwrap();
            written.extend_from_slice(line.as_bytes());
            if n % 7 == 0 {
                seen.extend(follower.read_new().unwrap());
            }
        }
        seen.extend(follower.read_new().unwrap());
        assert_eq!(String::from_utf8(seen), String::from_utf8(written));
    }
}
