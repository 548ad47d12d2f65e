//! The continuous profile: chunk after chunk, while something asks for it.
//!
//! It runs for the life of the process or while there are transactions ([`Lifecycle`]), if the process belongs to the share of
//! sessions, and for a while when an operator or a fault asks ([`run_for`]). Each run has a profiler id, which the spans that begin
//! meanwhile name, together with their thread.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, OnceLock, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::chunk::{Chunk, ChunkBuilder};
use super::sampler::{Counts, Reader, Recording, THREAD_NAME};
use super::{STACK_BYTES, is_in_share};
use crate::frames;
use crate::process::cpu_time_ms;
use crate::writer::Writer;

/// Longest chunk. Those of Sentry's SDKs are as long, and Sentry accepts 66 s.
const CHUNK: Duration = Duration::from_secs(60);
/// Time of a chunk from which on its process was stopped meanwhile. What came after that is a chunk of its own.
const CHUNK_MAX: Duration = Duration::from_secs(64);
/// Time for which a transaction keeps the profile running, from its beginning and from its end on.
const TRANSACTION_KEEPS: Duration = CHUNK;
/// Interval at which the thread looks whether enough CPU time was used for a reading.
const TICK: Duration = Duration::from_secs(1);
/// Least CPU time of the process between two readings of one chunk.
const READ_AFTER_CPU: Duration = Duration::from_millis(500);
/// A reading may cost this part of the CPU time of the process since the last one.
const READ_COST_PART: u32 = 100;
/// Number of stacks from which on a new table is begun. A bucket of the table has four places, and what does not fit is written to
/// a file without a limit, so the table must not become full.
const STACKS_MAX: usize = 4_096;
/// Longest run that one request can ask for.
pub(crate) const RUN_MAX: Duration = Duration::from_secs(600);

/// What starts and ends the continuous profile of a chosen session. Its names are those of Sentry's option `profile_lifecycle`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lifecycle {
    /// The process starts it at its own start, and ends it at its end.
    #[default]
    Manual,
    /// It runs while there are recorded transactions, and for a minute after them.
    Trace,
}

impl Lifecycle {
    /// Reads its name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "manual" => Some(Self::Manual),
            "trace" => Some(Self::Trace),
            _ => None,
        }
    }
}

/// What the runs need, from the start of telemetry on.
#[derive(Debug)]
struct Setup {
    writer: Writer,
    follows_transactions: bool,
}

static SETUP: OnceLock<Setup> = OnceLock::new();

#[derive(Debug)]
struct State {
    /// A thread runs, or is about to.
    has_thread: bool,
    is_for_life: bool,
    /// Time that is wanted from the first sample on. The sampler needs a moment before it.
    wanted: Option<Duration>,
    until: Option<Instant>,
    /// The last run ended with an error.
    has_failed: bool,
    /// The process ends.
    is_closed: bool,
}

static STATE: Mutex<State> = Mutex::new(State::new());
static CHANGED: Condvar = Condvar::new();
/// Id of the current run.
static ID: RwLock<Option<Arc<str>>> = RwLock::new(None);
/// True while there is an id. Each span asks.
static IS_RUNNING: AtomicBool = AtomicBool::new(false);

fn state() -> MutexGuard<'static, State> {
    // Consistent after every statement, so a panic in another thread does not damage it
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    const fn new() -> Self {
        Self {
            has_thread: false,
            is_for_life: false,
            wanted: None,
            until: None,
            has_failed: false,
            is_closed: false,
        }
    }

    /// The state after the end of the thread. Nothing is wanted any more.
    fn ended(&self, has_failed: bool) -> Self {
        Self { has_failed, is_closed: self.is_closed, ..Self::new() }
    }

    fn is_wanted(&self, now: Instant) -> bool {
        let is_asked_for = self.wanted.is_some() || self.until.is_some_and(|until| now < until);
        !self.is_closed && (self.is_for_life || is_asked_for)
    }

    /// Keeps the profile running for this long from `now` on, or from its first sample on if it does not run.
    fn keep(&mut self, duration: Duration, is_running: bool, now: Instant) {
        if is_running {
            self.until = self.until.max(Some(now + duration));
        } else {
            self.wanted = self.wanted.max(Some(duration));
        }
    }

    /// Begins the time that was wanted, because samples are taken now.
    fn begin(&mut self, now: Instant) {
        if let Some(duration) = self.wanted.take() {
            self.keep(duration, true, now);
        }
    }

    /// Starts the thread if it is wanted and does not run. Returns false if it does not run then, or only for its last chunk.
    fn start_thread(&mut self) -> bool {
        if self.has_thread || !self.is_wanted(Instant::now()) {
            return self.has_thread && !self.is_closed;
        }
        let Some(setup) = SETUP.get() else { return false };
        let builder = thread::Builder::new().name(THREAD_NAME.to_owned()).stack_size(STACK_BYTES);
        self.has_thread = builder.spawn(move || run(setup)).is_ok();
        self.has_thread
    }
}

/// Sets up the continuous profile of this process, and starts it if its session belongs to the share and nothing else starts it.
pub(crate) fn set_up(writer: Writer, share: f64, lifecycle: Lifecycle) {
    let is_chosen = share > 0.0 && is_in_share(RandomState::new().build_hasher().finish(), share);
    let follows_transactions = is_chosen && lifecycle == Lifecycle::Trace;
    // Telemetry starts once in a process
    if SETUP.set(Setup { writer, follows_transactions }).is_ok() && is_chosen && !follows_transactions {
        let mut state = state();
        state.is_for_life = true;
        state.start_thread();
    }
}

/// Profiles the process for this long from its first sample or from now on, at most for [`RUN_MAX`], whatever its share.
///
/// Returns false if telemetry sends nothing, or the process ends.
pub(crate) fn run_for(duration: Duration) -> bool {
    keep(&mut state(), duration.min(RUN_MAX))
}

fn keep(state: &mut State, duration: Duration) -> bool {
    state.keep(duration, IS_RUNNING.load(Ordering::Relaxed), Instant::now());
    state.start_thread()
}

/// Keeps the profile running because a recorded transaction begins or ends, if transactions decide.
pub(crate) fn note_transaction() {
    let follows_transactions = SETUP.get().is_some_and(|setup| setup.follows_transactions);
    if !follows_transactions {
        return;
    }
    let mut state = state();
    // Each attempt reads the symbols of the program, and there can be thousands of transactions a second
    if !state.has_failed {
        keep(&mut state, TRANSACTION_KEEPS);
    }
}

/// Id of the current run, 32 hex digits. `None` while none runs.
pub(crate) fn running() -> Option<Arc<str>> {
    if !IS_RUNNING.load(Ordering::Relaxed) {
        return None;
    }
    ID.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Ends the profile for good, and waits at most this long until its last chunk is with the writer.
pub(crate) fn stop(within: Duration) {
    let mut state = state();
    state.is_closed = true;
    CHANGED.notify_all();
    let waited = CHANGED.wait_timeout_while(state, within, |state| state.has_thread);
    // The chunk is lost if the time is over
    drop(waited.unwrap_or_else(PoisonError::into_inner));
}

fn run(setup: &Setup) {
    loop {
        let id: Arc<str> = uuid::Uuid::new_v4().as_simple().to_string().into();
        let outcome = sample(&id, |chunk| setup.writer.chunk(chunk));
        set_running(None);
        if let Err(error) = &outcome {
            complain(error);
        }
        let mut state = state();
        // A request may have come while the last chunk was made
        if outcome.is_err() || !state.is_wanted(Instant::now()) {
            *state = state.ended(outcome.is_err());
            CHANGED.notify_all();
            return;
        }
    }
}

fn set_running(id: Option<&Arc<str>>) {
    *ID.write().unwrap_or_else(PoisonError::into_inner) = id.map(Arc::clone);
    IS_RUNNING.store(id.is_some(), Ordering::Relaxed);
}

fn complain(error: &pprof::Error) {
    static COMPLAINED: Once = Once::new();
    COMPLAINED.call_once(|| {
        tracing::warn!(%error, "this process cannot record CPU profiles, so it has no continuous one");
    });
}

/// Waits for the next look. Returns true if the profile is not wanted any more.
fn is_over_after_tick() -> bool {
    let state = state();
    let tick = state
        .until
        .filter(|_| !state.is_for_life)
        .map_or(TICK, |until| until.saturating_duration_since(Instant::now()).min(TICK));
    let waited = CHANGED.wait_timeout_while(state, tick, |state| !state.is_closed);
    let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
    !state.is_wanted(Instant::now())
}

/// Decides when the table is read within a chunk.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// CPU time of the process at the last reading.
    cpu_at: Duration,
    /// Duration of the last reading.
    took: Duration,
}

impl Pace {
    /// Returns true if the process has used so much CPU time since the last reading that another one costs little in comparison.
    fn is_due(self, cpu_now: Duration) -> bool {
        cpu_now.saturating_sub(self.cpu_at) >= READ_AFTER_CPU.max(self.took * READ_COST_PART)
    }
}

fn cpu_now() -> Duration {
    Duration::from_millis(cpu_time_ms().unwrap_or_default())
}

/// Time since the last reading. More than a chunk would be the stop of the process, or a change of the clock.
fn period_since(began: SystemTime) -> Duration {
    began.elapsed().unwrap_or_default().min(CHUNK)
}

/// Gives an address its function name.
type NameOf = fn(u64) -> Option<String>;

fn new_chunk() -> ChunkBuilder<NameOf> {
    ChunkBuilder::<NameOf>::new(frames::function_at)
}

/// Sends the chunk if there is enough in it, and begins another.
fn pass_on(builder: &mut ChunkBuilder<NameOf>, id: &Arc<str>, send: &impl Fn(Chunk)) {
    if let Some(chunk) = std::mem::replace(builder, new_chunk()).finish(id) {
        send(chunk);
    }
}

/// Samples until the profile is not wanted any more, and passes each chunk on.
fn sample(id: &Arc<str>, send: impl Fn(Chunk)) -> Result<(), pprof::Error> {
    let reader = Reader::begin()?;
    let mut before = reader.read()?.counts();
    set_running(Some(id));
    state().begin(Instant::now());
    let mut builder = new_chunk();
    let (mut chunk_began, mut period_began) = (Instant::now(), SystemTime::now());
    let mut pace = Pace { cpu_at: cpu_now(), took: Duration::ZERO };
    loop {
        let is_over = is_over_after_tick();
        let is_chunk_over = is_over || chunk_began.elapsed() >= CHUNK;
        if !is_chunk_over && !pace.is_due(cpu_now()) {
            continue;
        }
        let reading_began = Instant::now();
        let reading = reader.read()?;
        if chunk_began.elapsed() > CHUNK_MAX {
            pass_on(&mut builder, id, &send);
        }
        let (started, duration) = (period_began, period_since(period_began));
        period_began = SystemTime::now();
        let counts = reading.counts();
        builder.add(&Recording { started, duration, stacks: reading.since(&before) });
        before = counts;
        if before.len() >= STACKS_MAX && reader.renew()? {
            before = Counts::new();
        }
        pace = Pace { cpu_at: cpu_now(), took: reading_began.elapsed() };
        if is_chunk_over || builder.is_full() {
            chunk_began = Instant::now();
            pass_on(&mut builder, id, &send);
        }
        if is_over {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profile_runs_while_something_wants_it() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut state = State::new();
        assert!(!state.is_wanted(now), "off by default");
        state.keep(second * 5, true, now);
        state.keep(second, true, now);
        assert!(state.is_wanted(now + second * 4), "a shorter request does not end a longer one");
        assert!(!state.is_wanted(now + second * 5));
        state.is_for_life = true;
        assert!(state.is_wanted(now + second * 500));
        state.is_closed = true;
        assert!(!state.is_wanted(now));
    }

    #[test]
    fn wanted_time_begins_with_the_first_sample() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut state = State::new();
        state.keep(second, false, now);
        let begun = now + second * 30;
        assert!(state.is_wanted(begun), "the sampler took long to begin");
        state.begin(begun);
        assert!(state.is_wanted(begun) && !state.is_wanted(begun + second));
        state.begin(begun + second);
        assert!(!state.is_wanted(begun + second), "it begins once");
    }

    #[test]
    fn failure_is_remembered_until_a_run_succeeds() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut state = State::new();
        state.keep(second, false, now);
        state.has_thread = true;
        let failed = state.ended(true);
        assert!(failed.has_failed && !failed.has_thread && !failed.is_wanted(now), "{failed:?}");
        assert!(!failed.ended(false).has_failed);
        state.is_closed = true;
        assert!(state.ended(false).is_closed);
        assert!(!state.start_thread(), "a thread that sends its last chunk takes no request");
    }

    #[test]
    fn period_is_no_longer_than_a_chunk() {
        assert_eq!(period_since(SystemTime::UNIX_EPOCH), CHUNK, "the process was stopped for years");
        let later = SystemTime::now() + Duration::from_secs(3_600);
        assert_eq!(period_since(later), Duration::ZERO, "the clock was set back");
    }

    #[test]
    fn expensive_reading_is_rare() {
        let ms = Duration::from_millis;
        let pace = Pace { cpu_at: ms(1_000), took: ms(1) };
        assert!(!pace.is_due(ms(1_499)));
        assert!(pace.is_due(ms(1_500)));
        let pace = Pace { cpu_at: ms(1_000), took: ms(40) };
        assert!(!pace.is_due(ms(4_999)), "a reading may cost a hundredth");
        assert!(pace.is_due(ms(5_000)));
    }

    #[test]
    fn lifecycle_has_the_names_of_sentrys_sdks() {
        assert_eq!(Lifecycle::from_name("manual"), Some(Lifecycle::Manual));
        assert_eq!(Lifecycle::from_name("trace"), Some(Lifecycle::Trace));
        assert_eq!(Lifecycle::from_name("always"), None);
        assert_eq!(Lifecycle::default(), Lifecycle::Manual);
    }

    #[test]
    fn request_without_telemetry_starts_nothing() {
        assert!(!run_for(Duration::from_secs(1)));
        assert!(running().is_none());
    }
}
