//! Information of the kernel about a process: its identity and its memory.

use procfs::process::Process;
use serde::{Deserialize, Serialize};

/// Unique identity of a process. Ids are reused, but an id with its start time and boot is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Process id.
    pub pid: i32,
    /// Start time of the process, in ticks since the machine booted.
    pub start_ticks: u64,
    /// Id of that boot.
    pub boot_id: String,
}

impl ProcessId {
    /// Identity of the process that has this id now, or `None` if it has ended.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        let stat = Process::new(pid).ok()?.stat().ok()?;
        // A zombie has ended and only waits for its parent to read its exit status.
        (!matches!(stat.state, 'Z' | 'X')).then(|| Self {
            pid,
            start_ticks: stat.starttime,
            boot_id: boot_id(),
        })
    }

    /// Returns `true` if the process was started in the current boot.
    #[must_use]
    pub(crate) fn is_of_this_boot(&self) -> bool {
        self.boot_id == boot_id()
    }

    /// Returns `true` if this same process still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }
}

impl std::fmt::Display for ProcessId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.pid, self.start_ticks, self.boot_id)
    }
}

/// The text is not a process identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected <process id>:<start ticks>:<boot id>")]
pub struct InvalidProcessId;

impl std::str::FromStr for ProcessId {
    type Err = InvalidProcessId;

    fn from_str(text: &str) -> Result<Self, InvalidProcessId> {
        let mut fields = text.splitn(3, ':');
        let mut field = || fields.next().ok_or(InvalidProcessId);
        let pid = field()?.parse().map_err(|_| InvalidProcessId)?;
        let start_ticks = field()?.parse().map_err(|_| InvalidProcessId)?;
        Ok(Self { pid, start_ticks, boot_id: field()?.to_owned() })
    }
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Returns `true` if a process has become its program. Every part is started through this program a second time (`child`). Until
/// that has replaced itself, the kernel's information about the process describes this program and not the part.
#[must_use]
pub(crate) fn has_become_its_program(pid: i32) -> bool {
    use std::os::unix::fs::MetadataExt;
    let program = |who: &str| {
        let file = std::fs::metadata(format!("/proc/{who}/exe")).ok()?;
        Some((file.dev(), file.ino()))
    };
    let other = program(&pid.to_string());
    other.is_some() && other != program("self")
}

/// Returns `true` if a process has become its program and has loaded it: it waits for something, or has computed for a while.
#[must_use]
pub(crate) fn has_loaded_its_program(pid: i32) -> bool {
    const LOADED_TICKS: u64 = 10;
    let stat = Process::new(pid).and_then(|process| process.stat());
    let loaded =
        stat.is_ok_and(|stat| stat.state != 'R' || stat.utime.saturating_add(stat.stime) >= LOADED_TICKS);
    loaded && has_become_its_program(pid)
}

/// Returns `true` if a signal has suspended the process.
#[must_use]
pub fn is_suspended(pid: i32) -> bool {
    Process::new(pid).and_then(|process| process.stat()).is_ok_and(|stat| stat.state == 'T')
}

/// Resident memory of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Memory at this moment (VmRSS).
    pub resident_bytes: u64,
    /// Largest memory since the process began (VmHWM).
    pub peak_bytes: u64,
}

impl Memory {
    /// Reads the memory of a process, or `None` if it does not run.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        let status = Process::new(pid).ok()?.status().ok()?;
        let bytes = |kib: u64| kib.saturating_mul(1024);
        Some(Self { resident_bytes: bytes(status.vmrss?), peak_bytes: bytes(status.vmhwm?) })
    }
}

/// Peak memory of the process (VmHWM), or 0 if it does not run.
#[must_use]
pub fn memory_peak_bytes(pid: i32) -> u64 {
    Memory::of(pid).map_or(0, |memory| memory.peak_bytes)
}

/// Command line of a process for people: program and first arguments, truncated.
#[must_use]
pub fn command_line(pid: i32) -> Option<String> {
    const LENGTH_MAX: usize = 80;
    let process = Process::new(pid).ok()?;
    let line = process.cmdline().ok().filter(|words| !words.is_empty()).map(|words| words.join(" "));
    let line = line.or_else(|| process.stat().ok().map(|s| s.comm))?;
    Some(line.chars().take(LENGTH_MAX).collect())
}

/// Describes how a process ended.
#[must_use]
pub fn describe_exit(status: std::process::ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => match code {
            64 => "exit code 64: bad configuration".to_owned(),
            69 => "exit code 69: something it needs is missing".to_owned(),
            _ => format!("exit code {code}"),
        },
        (None, Some(signal)) => {
            let name = nix::sys::signal::Signal::try_from(signal).map_or("an unknown signal", |s| s.as_str());
            format!("killed by {name}")
        }
        (None, None) => "ended for an unknown reason".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Not a test, but the process that the next test starts.
    #[test]
    #[ignore = "helper process of another test"]
    fn waits_for_end_of_input() {
        std::io::stdin().lines().for_each(drop);
    }

    #[test]
    fn launcher_process_is_not_the_part_yet() {
        let child = |command: &mut std::process::Command| {
            let command = command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null());
            command.spawn().unwrap()
        };
        let mut launcher = child(std::process::Command::new("/proc/self/exe").args([
            "--exact",
            "--ignored",
            "os_process::tests::waits_for_end_of_input",
        ]));
        let mut part = child(&mut std::process::Command::new("cat"));
        let id = |child: &std::process::Child| i32::try_from(child.id()).unwrap();
        assert!(!has_become_its_program(id(&launcher)) && !has_loaded_its_program(id(&launcher)));
        assert!(has_become_its_program(id(&part)));
        while !has_loaded_its_program(id(&part)) {
            std::thread::yield_now();
        }
        for child in [&mut launcher, &mut part] {
            drop(child.stdin.take());
            child.wait().unwrap();
        }
        assert!(!has_become_its_program(id(&part)), "it has ended");
    }

    #[test]
    fn reused_process_id_is_another_process() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let own = ProcessId::of(pid).unwrap();
        assert!(own.is_alive());
        let Memory { resident_bytes, peak_bytes } = Memory::of(pid).unwrap();
        assert!(resident_bytes > 1_000_000 && peak_bytes >= resident_bytes, "{resident_bytes} {peak_bytes}");
        assert!(memory_peak_bytes(pid) >= peak_bytes);
        let earlier = ProcessId { start_ticks: own.start_ticks - 1, ..own.clone() };
        assert!(!earlier.is_alive(), "the same id, started at another time, is another process");
        assert_eq!(own.to_string().parse(), Ok(own.clone()));
        let last_boot = ProcessId { boot_id: "another".to_owned(), ..own };
        assert!(!last_boot.is_alive());
    }
}
