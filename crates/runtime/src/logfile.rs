//! Logs of bounded size (one current and one older file per part), and readers of their ends.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Length at which a log becomes the older one. A part's logs never exceed twice this.
pub const LOG_BYTES_MAX: u64 = 8 << 20;

/// Number of bytes at the end of a log that are read for its last lines.
const TAIL_BYTES_MAX: u64 = 256 << 10;

/// Writer of a bounded log.
#[derive(Debug)]
pub struct LogWriter {
    path: PathBuf,
    file: File,
    length: u64,
    length_max: u64,
}

impl LogWriter {
    /// Opens the log for appending.
    pub fn open(path: &Path, length_max: u64) -> std::io::Result<Self> {
        let file = append(path)?;
        let length = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, length, length_max })
    }

    /// Appends bytes. If the log would become too long, it first replaces the older log.
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

/// The last `count` lines of a log, or none if there is no log.
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
    // A progress bar overwrites its own line, so only the final text is shown.
    let final_text =
        |line: &&str| line.rsplit('\r').find(|part| !part.trim().is_empty()).unwrap_or_default().to_owned();
    lines.iter().skip(lines.len().saturating_sub(count)).map(final_text).collect()
}

/// Follows a log that another process writes, even when the log is renamed.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    inode: u64,
    position: u64,
}

impl Follower {
    /// Follows the log from its current end.
    #[must_use]
    pub fn from_end(path: &Path) -> Self {
        let metadata = std::fs::metadata(path).ok();
        let (inode, position) = metadata.map_or((0, 0), |m| (m.ino(), m.len()));
        Self { path: path.to_owned(), inode, position }
    }

    /// Returns the bytes written since the last call.
    pub fn read_new(&mut self) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let Ok(metadata) = std::fs::metadata(&self.path) else { return Ok(bytes) };
        if metadata.ino() != self.inode {
            // The rest of the renamed file, then the new one from its start.
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
    fn log_is_bounded_and_tail_reads_both_files() {
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
    fn follower_reads_everything_across_a_rename() {
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
