//! Records the processes of this platform, so that the next command finds them even if this one is killed.
//!
//! A running supervisor is identified by its lock, which the kernel releases with the process. The file of process ids is for the
//! processes that a killed supervisor may have left. The next `up` or `down` kills each one that is still the same process.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::layout::write_private_unsynced;
use crate::os_process::ProcessId;
use crate::{Layout, RuntimeError};

/// Name under which the supervisor itself is recorded.
pub const SUPERVISOR: &str = "supervisor";

/// Time in which the kernel removes a killed process. A process that needs longer hangs in the kernel.
const GONE_DEADLINE: Duration = Duration::from_secs(10);

/// Lock that the kernel releases when its process ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held, not read: dropping it releases the lock")] Flock<File>);

impl Lock {
    /// Takes the lock of a command that changes the platform (`up`, `down`).
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

    /// Takes the supervisor's lock. Returns `None` when a supervisor lives.
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

/// Returns `true` if a supervisor of this platform lives.
pub fn supervisor_lives(layout: &Layout) -> Result<bool, RuntimeError> {
    if !layout.run().exists() {
        return Ok(false);
    }
    Ok(Lock::of_supervisor(layout)?.is_none())
}

/// Record of one process of the platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Name of the part, or `supervisor`.
    pub name: String,
    /// The process.
    pub process: ProcessId,
}

fn path(layout: &Layout) -> PathBuf {
    layout.run().join("pids.json")
}

/// Records the processes that run now. All of them end with the machine, so the file need not survive it.
pub fn record(layout: &Layout, processes: &[Recorded]) -> Result<(), RuntimeError> {
    let text = serde_json::to_vec(processes)
        .map_err(|e| RuntimeError::io("cannot write process ids", std::io::Error::other(e)))?;
    write_private_unsynced(&path(layout), &text)
}

/// The processes that were recorded last, or none if there is no readable file.
#[must_use]
pub fn recorded(layout: &Layout) -> Vec<Recorded> {
    let mut text = String::new();
    let read = File::open(path(layout)).and_then(|mut file| file.read_to_string(&mut text));
    read.ok().and_then(|_| serde_json::from_str(&text).ok()).unwrap_or_default()
}

/// Waits until all killed processes have disappeared. `lives` names one that still lives.
pub(crate) async fn wait_gone(lives: impl Fn() -> Option<String>) -> Result<(), RuntimeError> {
    let until = tokio::time::Instant::now() + GONE_DEADLINE;
    while let Some(what) = lives() {
        if tokio::time::Instant::now() > until {
            return Err(RuntimeError::Refused(format!(
                "{what} was killed and does not end: it may hang in the kernel"
            )));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Kills what a killed supervisor left behind and returns the names. May be called only while no supervisor lives.
pub async fn clean_up(layout: &Layout) -> Result<Vec<String>, RuntimeError> {
    let leftovers: Vec<Recorded> = recorded(layout).into_iter().filter(|r| r.process.is_alive()).collect();
    for one in &leftovers {
        // Each part leads its own process group, so its children are killed with it.
        if let Err(errno) = killpg(Pid::from_raw(one.process.pid), Signal::SIGKILL) {
            tracing::debug!(part = one.name, "cannot kill a process that has probably just ended: {errno}");
        }
    }
    let lives = || leftovers.iter().find(|r| r.process.is_alive());
    wait_gone(|| lives().map(|one| format!("{} (process {})", one.name, one.process.pid))).await?;
    drop(std::fs::remove_file(path(layout)));
    Ok(leftovers.into_iter().map(|r| r.name).collect())
}
