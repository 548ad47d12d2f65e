//! Lock of the flag file's writers: an advisory lock on a file beside it, which ends with its holder.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::StateError;

/// Longest wait for another change, which takes milliseconds.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(5);

/// Held during a change. Dropping it unlocks.
#[derive(Debug)]
pub(super) struct Lock {
    /// None: the folder is missing, so there is no file to change.
    _file: Option<File>,
}

/// Waits for the lock of the flag file at `path`. Readers need none.
pub(super) fn take(path: &Path) -> Result<Lock, StateError> {
    take_within(path, WAIT_MAX)
}

pub(super) fn take_within(path: &Path, wait_max: Duration) -> Result<Lock, StateError> {
    let failed = |source| StateError::File { action: "lock", path: path.to_owned(), source };
    // The lock file stays: another writer may wait for it.
    let opened =
        fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(lock_file(path));
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Lock { _file: None }),
        Err(error) => return Err(failed(error)),
    };
    let give_up_at = Instant::now() + wait_max;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Lock { _file: Some(file) }),
            Err(TryLockError::WouldBlock) if Instant::now() < give_up_at => thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => {
                let reason = format!("another change has not ended within {wait_max:?}");
                return Err(failed(io::Error::new(io::ErrorKind::TimedOut, reason)));
            }
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}

fn lock_file(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}
