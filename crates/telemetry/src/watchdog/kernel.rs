//! What the kernel tells about a thread of this process.

use std::fs;
use std::time::Duration;

/// Unit of the CPU time in `stat`, in milliseconds. It is the same for programs on all machines (`USER_HZ`).
const TICK_MS: u64 = 10;

/// A thread at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Thread {
    /// It runs, or would run if it got a processor.
    pub(super) is_runnable: bool,
    /// CPU time that it has had so far, in the program and in the kernel.
    pub(super) cpu: Duration,
}

impl Thread {
    /// `None` if the thread has ended, or where `/proc` cannot be read.
    pub(super) fn now(thread_id: u64) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/self/task/{thread_id}/stat")).ok()?)
    }

    /// Reads the state (field 3) and the CPU time (fields 14 and 15).
    fn parse(stat: &str) -> Option<Self> {
        // Field 2 is the name, which can have spaces and parentheses
        let (_, fields) = stat.rsplit_once(") ")?;
        let mut fields = fields.split_ascii_whitespace();
        let is_runnable = fields.next()? == "R";
        let program: u64 = fields.nth(10)?.parse().ok()?;
        let kernel: u64 = fields.next()?.parse().ok()?;
        let cpu = Duration::from_millis(program.saturating_add(kernel).saturating_mul(TICK_MS));
        Some(Self { is_runnable, cpu })
    }
}

/// The function of the kernel in which a thread waits, such as `hrtimer_nanosleep`. `0` means that it computes.
pub(super) fn waits_in(thread_id: u64) -> Option<String> {
    const NAME_BYTES_MAX: usize = 64;
    let name = fs::read_to_string(format!("/proc/self/task/{thread_id}/wchan")).ok()?;
    (!name.is_empty() && name.len() <= NAME_BYTES_MAX).then_some(name)
}

#[cfg(test)]
mod tests {
    use nix::unistd::gettid;

    use super::*;

    #[test]
    fn state_and_cpu_time_are_read() {
        let stat = |state: &str| {
            format!(
                "42 (a (thread) of 1) {state} 30 30 20 0 -1 4194304 99 0 0 0 123 45 0 0 20 0 1 0 293884\n"
            )
        };
        let cpu = Duration::from_millis(1_680);
        assert_eq!(Thread::parse(&stat("R")), Some(Thread { is_runnable: true, cpu }));
        assert_eq!(Thread::parse(&stat("S")), Some(Thread { is_runnable: false, cpu }));
        assert_eq!(Thread::parse("42 (x) R 30 30"), None);
        assert_eq!(Thread::parse(""), None);
    }

    #[test]
    fn own_thread_runs() {
        let own_id = u64::try_from(gettid().as_raw()).unwrap();
        assert!(Thread::now(own_id).is_some_and(|thread| thread.is_runnable));
        assert_eq!(Thread::now(u64::MAX), None);
    }
}
