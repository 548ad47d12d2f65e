//! Recording of the CPU profiles of [`crate::profile`].
//!
//! The profile of a transaction is one `profile` item in Sentry's sample format 1. A continuous one is a series of `profile_chunk`
//! items (`continuous`).
//!
//! 1. `sampler` runs `pprof`: a signal for each hundredth of a second of the process's CPU time. All threads are sampled, so a
//!    function's share of the samples is its share of the CPU time of the process. Both kinds of profile read the same samples.
//! 2. `stacks` gives the addresses their function names.
//! 3. The bridge holds the transaction until the profile is complete, at most [`PROFILE_GRACE`](crate::bridge::PROFILE_GRACE). Then
//!    the writer encodes both into one envelope (`document`).
//!
//! Samples in the C library, in the unwinder and in the kernel's vDSO are dropped, because a stack cannot be walked safely there.
//! Limits: one profile of a transaction at a time with a rest after it, [`TIME_MAX`], and the numbers in `stacks`.

mod chunk;
mod continuous;
mod document;
mod sampler;
mod stacks;

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, Once, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry::trace::SpanId;

use crate::frames;

pub(crate) use chunk::{Chunk, ChunkDocument, PLATFORM as CHUNK_PLATFORM};
pub use continuous::Lifecycle;
pub(crate) use continuous::{RUN_MAX, note_transaction, run_for, running, set_up, stop};
pub(crate) use document::Document;
pub(crate) use sampler::current_thread;
pub(crate) use stacks::Profile;

/// Longest time that one profile records. Sentry accepts half a minute.
const TIME_MAX: Duration = Duration::from_secs(5);
/// Shortest time between two profiles. At the start of each, `pprof` reads the program's symbols, and at the end it fills a new table.
const REST: Duration = Duration::from_secs(2);
/// Longest wait for the first sample. Reading the symbols takes seconds of CPU time in a program without optimisation.
const BEGIN_WITHIN: Duration = Duration::from_secs(10);
/// Stack of the sampler's thread. `pprof` walks its table by recursion.
const STACK_BYTES: usize = 8 * 1_024 * 1_024;

/// A running profile. It ends when this is dropped, or at its time limit.
#[derive(Debug)]
#[must_use = "dropping it ends the profile"]
pub struct Profiler {
    /// The sampler notices when this end of the channel is gone.
    _stop: SyncSender<()>,
}

/// Starts a profile, and waits until samples are taken. `done` gets the profile. It is dropped if no profile can begin.
pub(crate) fn begin_and_wait(done: impl FnOnce(Option<Profile>) + Send + 'static) -> Option<Profiler> {
    let (profiler, begun) = run(done)?;
    // Without samples the profile stays empty, which is not an error of the caller
    begun.recv_timeout(BEGIN_WITHIN).ok();
    Some(profiler)
}

/// Does the same without waiting for the first sample.
pub(crate) fn begin(done: impl FnOnce(Option<Profile>) + Send + 'static) -> Option<Profiler> {
    run(done).map(|(profiler, _)| profiler)
}

/// Starts the sampler's thread. The receiver gets a message with the first sample.
fn run(done: impl FnOnce(Option<Profile>) + Send + 'static) -> Option<(Profiler, Receiver<()>)> {
    let turn = TURNS.take(Instant::now())?;
    let thread_id = current_thread();
    let (stop, stopped) = sync_channel(1);
    let (beginning, begun) = sync_channel(1);
    let work = move || {
        done(record(thread_id, &beginning, &stopped));
        drop(turn);
    };
    let builder = thread::Builder::new().name(sampler::THREAD_NAME.to_owned()).stack_size(STACK_BYTES);
    builder.spawn(work).ok()?;
    Some((Profiler { _stop: stop }, begun))
}

fn record(thread_id: u64, beginning: &SyncSender<()>, stopped: &Receiver<()>) -> Option<Profile> {
    static COMPLAINED: Once = Once::new();
    match sampler::record(beginning, stopped, TIME_MAX) {
        Ok(recording) => Profile::of(&recording, thread_id, frames::function_at),
        Err(error) => {
            COMPLAINED.call_once(|| {
                tracing::warn!(%error, "this process cannot record CPU profiles, so its transactions have none");
            });
            None
        }
    }
}

/// The bits of the share of transactions that get a profile.
static SHARE_BITS: AtomicU64 = AtomicU64::new(0);

pub(crate) fn set_share(share: f64) {
    SHARE_BITS.store(share.to_bits(), Ordering::Relaxed);
}

/// Returns true if this root belongs to the share of transactions that get a profile.
pub(crate) fn is_chosen(root: SpanId) -> bool {
    let share = f64::from_bits(SHARE_BITS.load(Ordering::Relaxed));
    share > 0.0 && is_below(root, share)
}

fn is_below(root: SpanId, share: f64) -> bool {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    is_in_share(KEY.get_or_init(RandomState::new).hash_one(root.to_bytes()), share)
}

/// Returns true for this share of random numbers.
fn is_in_share(random: u64, share: f64) -> bool {
    const STEPS: u32 = 1_000_000;
    let step = u32::try_from(random % u64::from(STEPS)).unwrap_or_default();
    f64::from(step) < share * f64::from(STEPS)
}

static TURNS: Turns = Turns::new();

/// Lets profiles run one after the other, with a rest between them.
#[derive(Debug)]
struct Turns(Mutex<Turning>);

#[derive(Debug)]
struct Turning {
    is_taken: bool,
    free_from: Option<Instant>,
}

/// The right to record the only profile of this process. Its end begins the rest.
#[derive(Debug)]
struct Turn(&'static Turns);

impl Turns {
    const fn new() -> Self {
        Self(Mutex::new(Turning { is_taken: false, free_from: None }))
    }

    fn lock(&self) -> MutexGuard<'_, Turning> {
        // Consistent after every statement, so a panic in another thread does not damage it
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&'static self, now: Instant) -> Option<Turn> {
        let mut turning = self.lock();
        if turning.is_taken || turning.free_from.is_some_and(|from| now < from) {
            return None;
        }
        turning.is_taken = true;
        Some(Turn(self))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut turning = self.0.lock();
        turning.is_taken = false;
        turning.free_from = Some(Instant::now() + REST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_run_one_by_one_with_rest() {
        static TURNS: Turns = Turns::new();
        let now = Instant::now();
        let turn = TURNS.take(now).unwrap();
        assert!(TURNS.take(now + REST * 2).is_none(), "one at a time");
        drop(turn);
        assert!(TURNS.take(now).is_none(), "a rest follows");
        assert!(TURNS.take(Instant::now() + REST).is_some());
    }

    #[test]
    fn share_selects_about_that_many_roots() {
        let count = |share: f64| {
            let ids = (1_u64..=10_000).map(SpanId::from);
            ids.filter(|id| is_below(*id, share)).count()
        };
        assert_eq!((count(0.0), count(1.0)), (0, 10_000));
        let quarter = count(0.25);
        assert!((2_000..=3_000).contains(&quarter), "{quarter}");
        assert!(!is_chosen(SpanId::from(7)), "off by default");
    }
}
