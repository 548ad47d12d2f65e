//! Thread that reads the flag file again when it changes.
//!
//! It checks the file's metadata five times a second and does not wait for events of the file system. Flagd's own file provider
//! hung on a queue of such events, and they do not cross all mounts of containers.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::State;
use crate::service_faults::Process;

/// Pause between two checks of the file.
const PAUSE: Duration = Duration::from_millis(200);
/// Age of a file from which equal metadata means equal content. Within the resolution of its time stamps a younger file can be
/// replaced by one with the same metadata.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// What is known of a file without reading it. It changes with the content.
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

/// Reads the file now, and starts the thread that reads it again. The thread ends with the last handle.
pub(crate) fn start(process: &Arc<Process>) {
    let mut seen = None;
    check(process, &mut seen);
    let weak = Arc::downgrade(process);
    let work = move || watch(&weak, seen);
    if let Err(error) = thread::Builder::new().name("fault-file".to_owned()).spawn(work) {
        let problem = format!("the flag file is not read again, because no thread could be started: {error}");
        process.set_problem(Some(problem));
    }
}

fn watch(process: &Weak<Process>, mut seen: Option<Stamp>) {
    loop {
        thread::sleep(PAUSE);
        let Some(process) = process.upgrade() else { return };
        check(&process, &mut seen);
    }
}

/// Reads the file unless it was read before, and ends faults that have expired.
fn check(process: &Process, seen: &mut Option<Stamp>) {
    let stamp = Stamp::of(process.file()); // before the content, so that the next check sees a later change
    if stamp.is_some() && stamp == *seen {
        process.end_expired();
        return;
    }
    match State::read(process.file()) {
        Ok(state) => {
            process.set_state(state);
            process.set_problem(None);
        }
        Err(error) => process.set_problem(Some(error.to_string())),
    }
    *seen = stamp;
}
