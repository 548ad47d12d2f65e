//! Thread that reads the flag file again when it changes.
//!
//! It checks the file's metadata five times a second and does not wait for events of the file system. Flagd's own file provider
//! hung on a queue of such events, and they do not cross all mounts of containers.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::State;

/// Pause between two checks of the file.
const PAUSE: Duration = Duration::from_millis(200);
/// Age of a file from which equal metadata means equal content. Within the resolution of its time stamps a younger file can be
/// replaced by one with the same metadata.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// Attributes of a file that change with its content.
#[derive(Debug, PartialEq, Eq)]
enum Stamp {
    Missing,
    File { modified: SystemTime, length: u64, inode: u64 },
}

impl Stamp {
    /// None if the file has to be read again at the next check: it is not readable, or too young.
    fn of(path: &Path) -> Option<Self> {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => return Some(Self::Missing),
            Err(_) => return None,
        };
        let modified = metadata.modified().ok()?;
        let is_settled = modified.elapsed().is_ok_and(|age| age >= SETTLED_AFTER);
        is_settled.then(|| Self::File { modified, length: metadata.len(), inode: metadata.ino() })
    }
}

/// Result of a check of the file.
pub(crate) enum Check {
    /// The file is as it was.
    Unchanged,
    /// What the file says now.
    Read(State),
    /// Reason why the file cannot be read.
    Failed(String),
}

/// Reads the file now, and starts the thread that reads it again. The thread ends when `report` returns false.
pub(crate) fn start(file: PathBuf, report: impl Fn(Check) -> bool + Send + 'static) -> io::Result<()> {
    let mut seen = None;
    report(check(&file, &mut seen));
    let work = move || loop {
        thread::sleep(PAUSE);
        if !report(check(&file, &mut seen)) {
            return;
        }
    };
    thread::Builder::new().name("fault-file".to_owned()).spawn(work).map(drop)
}

/// Reads the file unless it was read before.
fn check(file: &Path, seen: &mut Option<Stamp>) -> Check {
    let stamp = Stamp::of(file); // before the content, so that the next check sees a later change
    if stamp.is_some() && stamp == *seen {
        return Check::Unchanged;
    }
    *seen = stamp;
    match State::read(file) {
        Ok(state) => Check::Read(state),
        Err(error) => Check::Failed(error.to_string()),
    }
}
