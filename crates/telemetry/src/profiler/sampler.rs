//! The sampler: `pprof`, which interrupts the process's running threads by CPU time and walks their stacks.

use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, SystemTime};

/// Samples for each second of CPU time of the process. Unlike 100 it does not run in step with timers.
const RATE_HZ: i32 = 101;

/// Libraries in which no sample is taken, as `pprof` recommends: an interrupted thread could hold a lock that the unwinder needs.
const BLOCKED: [&str; 6] = ["/libc.so", "/libc-", "/libgcc_s", "/libpthread", "/ld-linux", "vdso"];

/// What was sampled.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) started: SystemTime,
    pub(super) duration: Duration,
    pub(super) stacks: Vec<Sampled>,
}

/// A stack of one thread with the number of its samples. `pprof` adds equal stacks up and keeps the time of the first.
#[derive(Debug, Clone)]
pub(super) struct Sampled {
    /// Innermost first, beginning with the handler of the signal.
    pub(super) addresses: Vec<u64>,
    pub(super) thread_id: u64,
    pub(super) thread_name: String,
    pub(super) first: SystemTime,
    pub(super) count: usize,
}

/// The id of the calling thread, as in [`Sampled`].
pub(super) fn current_thread() -> u64 {
    nix::sys::pthread::pthread_self()
}

/// Samples until the other end of `stopped` is dropped, at most for `within`. Sends to `beginning` when samples are taken.
pub(super) fn record(
    beginning: &SyncSender<()>,
    stopped: &Receiver<()>,
    within: Duration,
) -> Result<Recording, pprof::Error> {
    let guard = pprof::ProfilerGuardBuilder::default().frequency(RATE_HZ).blocklist(&BLOCKED).build()?;
    // `build` reads the symbols of the whole program (and its debug information, if it has any), which would stay in memory
    backtrace::clear_symbol_cache();
    let started = SystemTime::now();
    // The receiver is gone if nobody waits
    beginning.try_send(()).ok();
    // Both errors are the end: of the time, or of the profile
    stopped.recv_timeout(within).ok();
    let duration = started.elapsed().unwrap_or_default();
    let report = guard.report().build_unresolved()?;
    drop(guard);
    // This thread's own work is none of the process's
    let others = report.data.iter().filter(|(stack, _)| stack.thread_id != current_thread());
    let stacks = others.map(|(stack, count)| Sampled {
        addresses: stack.frames.iter().map(|frame| frame.ip() as usize as u64).collect(),
        thread_id: stack.thread_id,
        thread_name: thread_name(&stack.thread_name, stack.thread_name_length),
        first: stack.sample_timestamp,
        count: usize::try_from(*count).unwrap_or(0),
    });
    Ok(Recording { started, duration, stacks: stacks.collect() })
}

fn thread_name(bytes: &[u8], length: usize) -> String {
    String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned()
}
