//! State of the process on error events: memory, CPU time, threads, tasks, uptime and version, in the context `process`.
//!
//! It is read where the error is captured, so that it shows the moment of the error. That costs one small file of `/proc` and one
//! system call, and only errors pay it.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use sentry::protocol::{Context, Event, Value};
use sentry::{ClientOptions, Integration};
use tokio::runtime::Handle;

use crate::frames;

/// Name of the context.
const PROCESS_CONTEXT: &str = "process";

static STARTED_AT: OnceLock<Instant> = OnceLock::new();
static RUNTIME: OnceLock<Handle> = OnceLock::new();

/// Names the async runtime of this process, whose figures are on the errors of threads outside of it. The first call counts.
pub fn set_runtime(runtime: Handle) {
    RUNTIME.get_or_init(|| runtime);
}

/// Begins to count the uptime.
pub(crate) fn started() {
    STARTED_AT.get_or_init(Instant::now);
}

/// Adds the state of the process to error events.
pub(crate) struct AttachProcess {
    pub(crate) release: String,
}

impl Integration for AttachProcess {
    fn name(&self) -> &'static str {
        "attach-process"
    }

    fn process_event(&self, mut event: Event<'static>, _: &ClientOptions) -> Option<Event<'static>> {
        if frames::is_error(&event) {
            event.contexts.insert(PROCESS_CONTEXT.to_owned(), Context::Other(state(&self.release)));
        }
        Some(event)
    }
}

/// The figures that can be read now. One that cannot be read is missing.
fn state(release: &str) -> BTreeMap<String, Value> {
    let mut state = BTreeMap::new();
    let mut add = |name: &str, value: Option<u64>| {
        if let Some(value) = value {
            state.insert(name.to_owned(), Value::from(value));
        }
    };
    let status = status();
    add("rss_bytes", resident_bytes_in(&status));
    add("threads", number(&status, "Threads:"));
    add("cpu_time_ms", cpu_time_ms());
    add("uptime_s", STARTED_AT.get().map(|started| started.elapsed().as_secs()));
    // The runtime of this thread comes first, because a test has several
    if let Some(runtime) = Handle::try_current().ok().or_else(|| RUNTIME.get().cloned()) {
        let metrics = runtime.metrics();
        add("tokio_workers", u64::try_from(metrics.num_workers()).ok());
        add("tokio_alive_tasks", u64::try_from(metrics.num_alive_tasks()).ok());
    }
    let version = release.rsplit_once('@').map_or(release, |(_, version)| version);
    state.insert("version".to_owned(), Value::from(version));
    state
}

/// Memory of this process that is in RAM. `None` where the kernel does not tell it in the form of Linux.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    resident_bytes_in(&status())
}

/// The kernel's description of this process, empty where there is none.
fn status() -> String {
    std::fs::read_to_string("/proc/self/status").unwrap_or_default()
}

fn resident_bytes_in(status: &str) -> Option<u64> {
    number(status, "VmRSS:")?.checked_mul(1_024)
}

/// The number in the line of `/proc/self/status` that begins with `name`.
fn number(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// CPU time of all threads since the start of the process, in the program and in the kernel.
#[must_use]
pub fn cpu_time_ms() -> Option<u64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let spent = usage.user_time().num_milliseconds().saturating_add(usage.system_time().num_milliseconds());
    u64::try_from(spent).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_of_a_line_is_read() {
        let status = "Name:\tgame\nVmRSS:\t   12345 kB\nThreads:\t7\n";
        assert_eq!(resident_bytes_in(status), Some(12_345 * 1_024));
        assert_eq!(resident_bytes_in("VmRSS:\t99999999999999999999 kB"), None);
        assert_eq!(number(status, "Threads:"), Some(7));
        assert_eq!(number(status, "VmHWM:"), None);
        assert_eq!(number("Threads:\tmany\n", "Threads:"), None);
    }

    #[test]
    fn state_outside_of_a_runtime_has_no_tasks() {
        started();
        let state = state("game@1.2.3");
        assert_eq!(state["version"], "1.2.3");
        for name in ["rss_bytes", "threads"] {
            assert!(state[name].as_u64().is_some_and(|value| value > 0), "{name}: {state:?}");
        }
        for name in ["cpu_time_ms", "uptime_s"] {
            assert!(state[name].is_u64(), "{name}: {state:?}");
        }
    }
}
