//! The only sampler of the process: `pprof`, which interrupts the process's running threads by CPU time and walks their stacks.
//!
//! The profile of a transaction and the continuous one read the same table, each from its own moment on. `pprof` only ever adds to
//! that table, so a reader subtracts the counts of an earlier reading. The sampler runs while it has a reader.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// Samples for each second of CPU time of the process. Unlike 100 it does not run in step with timers.
const RATE_HZ: i32 = 101;

/// Libraries in which no sample is taken, as `pprof` recommends: an interrupted thread could hold a lock that the unwinder needs.
const BLOCKED: [&str; 6] = ["/libc.so", "/libc-", "/libgcc_s", "/libpthread", "/ld-linux", "vdso"];

/// Name of the threads that read the table. Their own work is none of the process's, so their samples are left out.
pub(super) const THREAD_NAME: &str = "telemetry-cpu";

/// What was sampled in a period.
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
pub(crate) fn current_thread() -> u64 {
    nix::sys::pthread::pthread_self()
}

/// Number of samples of each stack up to a moment, by a hash of the stack and its thread.
pub(super) type Counts = HashMap<u64, usize>;

/// All samples up to a moment, each stack with its hash.
#[derive(Debug, Default)]
pub(super) struct Reading {
    stacks: Vec<(u64, Sampled)>,
}

impl Reading {
    pub(super) fn counts(&self) -> Counts {
        self.stacks.iter().map(|(key, stack)| (*key, stack.count)).collect()
    }

    /// The samples that came after `earlier`.
    pub(super) fn since(self, earlier: &Counts) -> Vec<Sampled> {
        let new = self.stacks.into_iter().map(|(key, stack)| {
            let count = stack.count.saturating_sub(earlier.get(&key).copied().unwrap_or_default());
            Sampled { count, ..stack }
        });
        new.filter(|stack| stack.count > 0).collect()
    }
}

struct Source {
    readers: usize,
    /// Samples until it is dropped.
    guard: Option<pprof::ProfilerGuard<'static>>,
}

static SOURCE: Mutex<Source> = Mutex::new(Source { readers: 0, guard: None });

fn source() -> MutexGuard<'static, Source> {
    // Consistent after every statement, so a panic in another thread does not damage it
    SOURCE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A reader of the sampler. The first one starts it, and the drop of the last one ends it.
#[derive(Debug)]
pub(super) struct Reader(());

impl Reader {
    /// Starts the sampler if it does not run. Reading the symbols of the program takes a moment then.
    pub(super) fn begin() -> Result<Self, pprof::Error> {
        let mut source = source();
        if source.guard.is_none() {
            source.guard = Some(start()?);
        }
        source.readers += 1;
        Ok(Self(()))
    }

    /// Everything that was sampled since the sampler began. No sample is taken while it reads.
    pub(super) fn read(&self) -> Result<Reading, pprof::Error> {
        let source = source();
        let Some(guard) = &source.guard else { return Ok(Reading::default()) };
        let report = guard.report().build_unresolved()?;
        let stacks = report.data.iter().map(|(stack, count)| {
            let mut hasher = DefaultHasher::new();
            stack.thread_id.hash(&mut hasher);
            // Equal stacks are equal in the beginnings of their functions only
            for frame in &stack.frames {
                (frame.symbol_address() as usize).hash(&mut hasher);
            }
            let sampled = Sampled {
                addresses: stack.frames.iter().map(|frame| frame.ip() as usize as u64).collect(),
                thread_id: stack.thread_id,
                thread_name: thread_name(&stack.thread_name, stack.thread_name_length),
                first: stack.sample_timestamp,
                count: usize::try_from(*count).unwrap_or(0),
            };
            (hasher.finish(), sampled)
        });
        Ok(Reading { stacks: stacks.filter(|(_, stack)| stack.thread_name != THREAD_NAME).collect() })
    }

    /// Begins an empty table, so that its size and the time of a reading stay bounded. Returns false if there is another reader,
    /// whose earlier counts would be wrong then.
    pub(super) fn renew(&self) -> Result<bool, pprof::Error> {
        let mut source = source();
        if source.readers > 1 {
            return Ok(false);
        }
        source.guard = None;
        source.guard = Some(start()?);
        Ok(true)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut source = source();
        source.readers = source.readers.saturating_sub(1);
        if source.readers == 0 {
            source.guard = None;
        }
    }
}

fn start() -> Result<pprof::ProfilerGuard<'static>, pprof::Error> {
    let guard = pprof::ProfilerGuardBuilder::default().frequency(RATE_HZ).blocklist(&BLOCKED).build()?;
    // `build` reads the symbols of the whole program (and its debug information, if it has any), which would stay in memory
    backtrace::clear_symbol_cache();
    Ok(guard)
}

/// Samples until the other end of `stopped` is dropped, at most for `within`. Sends to `beginning` when samples are taken.
pub(super) fn record(
    beginning: &SyncSender<()>,
    stopped: &Receiver<()>,
    within: Duration,
) -> Result<Recording, pprof::Error> {
    let reader = Reader::begin()?;
    let before = reader.read()?.counts();
    let started = SystemTime::now();
    // The receiver is gone if nobody waits
    beginning.try_send(()).ok();
    // Both errors are the end: of the time, or of the profile
    stopped.recv_timeout(within).ok();
    let duration = started.elapsed().unwrap_or_default();
    let stacks = reader.read()?.since(&before);
    Ok(Recording { started, duration, stacks })
}

fn thread_name(bytes: &[u8], length: usize) -> String {
    String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(counts: &[(u64, usize)]) -> Reading {
        let sampled = |(key, count): &(u64, usize)| {
            let sampled = Sampled {
                addresses: vec![*key],
                thread_id: 7,
                thread_name: "worker".to_owned(),
                first: SystemTime::UNIX_EPOCH,
                count: *count,
            };
            (*key, sampled)
        };
        Reading { stacks: counts.iter().map(sampled).collect() }
    }

    #[test]
    fn reader_gets_what_came_after_its_earlier_reading() {
        let before = reading(&[(1, 5), (2, 3)]).counts();
        let since = reading(&[(1, 9), (2, 3), (3, 2)]).since(&before);
        let counts: Vec<_> = since.iter().map(|stack| (stack.addresses[0], stack.count)).collect();
        assert_eq!(counts, [(1, 4), (3, 2)]);
        assert_eq!(reading(&[(1, 2)]).since(&Counts::new()).len(), 1, "everything without an earlier one");
    }

    #[test]
    fn smaller_count_than_before_is_none() {
        let before = reading(&[(1, 5)]).counts();
        assert!(reading(&[(1, 4)]).since(&before).is_empty());
    }
}
