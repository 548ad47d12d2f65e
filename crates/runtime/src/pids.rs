//! Which processes belong to this platform, written down so that the next command finds them whatever became of this one.
//!
//! The truth about a running supervisor is its lock, which the kernel takes back with the process. The file of process ids is for
//! what a killed supervisor may have left: each is removed by the next `up` or `down`, and only if it is the very same process.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::layout::write_private;
use crate::process::ProcessId;
use crate::{Layout, RuntimeError};

/// The name under which the supervisor itself is written down.
pub const SUPERVISOR: &str = "supervisor";

/// How long the kernel may take to remove a process that was killed; longer means that it hangs in the kernel.
const GONE_DEADLINE: Duration = Duration::from_secs(10);

/// A lock that one process holds and that ends with it.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held, not read: dropping it releases the lock")] Flock<File>);

impl Lock {
    /// Takes the lock of whoever changes the platform (`up`, `down`).
    ///
    /// # Errors
    /// [`RuntimeError::Busy`] when another command holds it.
    pub fn of_command(layout: &Layout) -> Result<Self, RuntimeError> {
        let path = layout.run().join("command.lock");
        Self::take(path.clone())?.ok_or_else(|| {
            let pid = std::fs::read_to_string(&path).unwrap_or_default();
            RuntimeError::Busy { pid: if pid.is_empty() { "unknown".to_owned() } else { pid } }
        })
    }

    /// Takes the supervisor's lock; `None` when a supervisor lives.
    ///
    /// # Errors
    /// When the lock's file cannot be made.
    pub fn of_supervisor(layout: &Layout) -> Result<Option<Self>, RuntimeError> {
        Self::take(layout.run().join("supervisor.lock"))
    }

    fn take(path: PathBuf) -> Result<Option<Self>, RuntimeError> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(RuntimeError::file("open", &path))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut lock) => {
                lock.set_len(0).map_err(RuntimeError::file("write", &path))?;
                write!(&mut *lock, "{}", std::process::id()).map_err(RuntimeError::file("write", &path))?;
                Ok(Some(Self(lock)))
            }
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(RuntimeError::io(format!("cannot lock {}", path.display()), errno)),
        }
    }
}

/// Whether a supervisor of this platform lives.
///
/// # Errors
/// When the state folder cannot be read.
pub fn supervisor_lives(layout: &Layout) -> Result<bool, RuntimeError> {
    if !layout.run().exists() {
        return Ok(false);
    }
    Ok(Lock::of_supervisor(layout)?.is_none())
}

/// One process of the platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// The part, or `supervisor`.
    pub name: String,
    /// The process.
    pub process: ProcessId,
}

fn path(layout: &Layout) -> PathBuf {
    layout.run().join("pids.json")
}

/// Writes down the processes that run now.
///
/// # Errors
/// When the file cannot be written.
pub fn record(layout: &Layout, processes: &[Recorded]) -> Result<(), RuntimeError> {
    let text = serde_json::to_vec(processes)
        .map_err(|e| RuntimeError::io("cannot write process ids", std::io::Error::other(e)))?;
    write_private(&path(layout), &text)
}

/// The processes that were written down last; none where nothing readable is there.
#[must_use]
pub fn recorded(layout: &Layout) -> Vec<Recorded> {
    let mut text = String::new();
    let read = File::open(path(layout)).and_then(|mut file| file.read_to_string(&mut text));
    read.ok().and_then(|_| serde_json::from_str(&text).ok()).unwrap_or_default()
}

/// Waits until nothing that was killed lives any more; `lives` names what still does.
///
/// # Errors
/// When something does not go.
pub(crate) async fn wait_gone(lives: impl Fn() -> Option<String>) -> Result<(), RuntimeError> {
    let until = tokio::time::Instant::now() + GONE_DEADLINE;
    while let Some(what) = lives() {
        if tokio::time::Instant::now() > until {
            return Err(RuntimeError::Refused(format!("{what} was left behind and does not go")));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Removes what a killed supervisor left behind and returns the names. Only to be called while no supervisor lives.
///
/// # Errors
/// When one of them does not go although it was killed.
pub async fn clean_up(layout: &Layout) -> Result<Vec<String>, RuntimeError> {
    let left: Vec<Recorded> = recorded(layout).into_iter().filter(|r| r.process.is_alive()).collect();
    for one in &left {
        // Each part leads a process group of its own, so its children go with it.
        if let Err(errno) = killpg(Pid::from_raw(one.process.pid), Signal::SIGKILL) {
            tracing::debug!(part = one.name, "went just now: {errno}");
        }
    }
    let lives = || left.iter().find(|r| r.process.is_alive());
    wait_gone(|| lives().map(|one| format!("{} (process {})", one.name, one.process.pid))).await?;
    drop(std::fs::remove_file(path(layout)));
    Ok(left.into_iter().map(|r| r.name).collect())
}
