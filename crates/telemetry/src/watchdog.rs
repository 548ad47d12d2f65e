//! Watchdog of the async runtime: a thread that notices when a worker does not return from a unit of work, and reports what blocks
//! it while it does.
//!
//! A handler that calls something synchronous stops everything else on its worker, also the code that would report it. The event is
//! in the trace of the work, with its user and breadcrumbs, and is grouped by the name of the work: the route of a request, and what
//! the consumer says of a record ([`Observed`]). Other tasks, such as a sweep, are not observed.
//!
//! What is not blocked is not reported: a process that was stopped, a machine that slept, and a worker that only waits for a processor
//! because the machine is busy.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use sentry::Hub;
use tracing::Span;

use crate::activity::{self, Slot, Work};
use crate::report;

mod kernel;

use kernel::Thread;

/// Interval of the looks. Each wakes a thread, so they are rare (ADR 7).
const INTERVAL: Duration = Duration::from_secs(1);
/// Number of whole intervals that a thread has to be inside of the same poll. A blocked worker is reported in the interval after them.
const INTERVALS: u32 = 2;
/// CPU time in one poll after which a thread computes for too long. With less it may just not have got a processor.
const CPU_MIN: Duration = Duration::from_secs(1);

/// What a unit of work is. It is asked only when the work is reported, so that work that is not costs nothing.
pub trait Describe: Send + Sync {
    /// Name with few values, by which the reports are grouped.
    fn name(&self) -> String;

    /// Details of this one unit for the reader. Those that [`crate::TAGS`] names become tags.
    fn details(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

/// Method and route of a request.
pub(crate) struct Route(pub(crate) String);

impl Describe for Route {
    fn name(&self) -> String {
        self.0.clone()
    }
}

/// A unit of work that the watchdog sees, and that its owner can report while it runs. Clones are the same work.
#[derive(Clone)]
pub struct Observed(Arc<Work>);

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observed").field(&self.0.what.name()).finish()
    }
}

impl Observed {
    /// Work whose events belong to `span` and to the current error scope.
    #[must_use]
    pub fn new(what: impl Describe + 'static, span: &Span) -> Self {
        Self(Arc::new(Work { what: Arc::new(what), span: span.clone(), hub: Hub::current() }))
    }

    /// Runs the work. A poll that does not return is reported.
    pub async fn run<F: Future>(self, work: F) -> F::Output {
        activity::observed(self.0, work).await
    }

    /// Reports an error of the work in its trace, as kind `kind` and with its details, from any thread. All reports of one kind about
    /// work of one name are one issue.
    pub fn report(&self, kind: &str, error: &(dyn Error + 'static)) {
        send(&self.0, kind, error, &[]);
    }

    /// Name of the work, as its reports have it.
    #[must_use]
    pub fn name(&self) -> String {
        self.0.what.name()
    }

    /// The details of the work in one line.
    #[must_use]
    pub fn details(&self) -> String {
        let details = self.0.what.details();
        details.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    }
}

/// Reports in the trace and in the error scope of the work.
fn send(work: &Work, kind: &str, error: &(dyn Error + 'static), more: &[(&str, &str)]) {
    let (name, of_work) = (work.what.name(), work.what.details());
    let mut details = vec![("kind", kind)];
    details.extend_from_slice(more);
    details.extend(of_work.iter().map(|(name, value)| (*name, value.as_str())));
    let report = || report::report_as(&[kind, name.as_str()], error, &details);
    Hub::run(Arc::clone(&work.hub), || work.span.in_scope(report));
}

/// A running watchdog. It ends when this is dropped.
#[derive(Debug)]
#[must_use = "dropping it ends the watchdog"]
pub struct Watchdog {
    /// The thread notices when this end of the channel is gone.
    _stop: SyncSender<()>,
}

#[derive(Debug, thiserror::Error)]
#[error(
    "a worker of the async runtime is blocked by {work}: it has not returned for {blocked_ms} ms or more"
)]
struct WorkerBlocked {
    work: String,
    blocked_ms: u128,
}

/// Starts the watchdog of this process.
///
/// # Errors
/// When its thread cannot be created.
pub fn start() -> io::Result<Watchdog> {
    let (stop, stopped) = sync_channel(0);
    thread::Builder::new().name("watchdog".to_owned()).spawn(move || watch(&stopped))?;
    Ok(Watchdog { _stop: stop })
}

fn watch(stopped: &Receiver<()>) {
    let mut threads: HashMap<u64, Seen> = HashMap::new();
    loop {
        let began_at = Instant::now();
        match stopped.recv_timeout(INTERVAL) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
        // The process was stopped, or got no CPU time: a worker that did not run is not blocked. The clock of `Instant` stands still
        // while the machine sleeps
        let was_late = began_at.elapsed() > INTERVAL * 2;
        let slots = activity::slots();
        threads.retain(|id, _| slots.iter().any(|slot| slot.thread_id == *id));
        for slot in slots {
            let seen = threads.entry(slot.thread_id).or_default();
            if was_late {
                seen.forget();
            }
            let polls = slot.polls();
            let thread = is_inside(polls).then(|| Thread::now(slot.thread_id)).flatten();
            match seen.look(polls, thread) {
                Change::Blocked => report_blocked(&slot, polls),
                Change::Continues => tracing::warn!("a worker of the async runtime is no longer blocked"),
                Change::None => {}
            }
        }
    }
}

/// Returns true if this number of beginnings and ends of polls means that the thread is inside of one.
fn is_inside(polls: u64) -> bool {
    polls % 2 == 1
}

/// What was seen of one thread.
#[derive(Debug, Default)]
struct Seen {
    polls: u64,
    looks: u32,
    /// CPU time of the thread when it was first seen inside of this poll.
    cpu_before: Option<Duration>,
    is_reported: bool,
}

/// Result of a look at a thread.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    /// It has been inside of one poll for too long.
    Blocked,
    /// It was, and is no more.
    Continues,
    None,
}

impl Seen {
    fn look(&mut self, polls: u64, thread: Option<Thread>) -> Change {
        let is_same_poll = polls == self.polls && is_inside(polls);
        if !is_same_poll {
            let was_reported = self.is_reported;
            let cpu_before = thread.map(|thread| thread.cpu);
            *self = Self { polls, looks: 1, cpu_before, is_reported: false };
            return if was_reported { Change::Continues } else { Change::None };
        }
        self.looks = self.looks.saturating_add(1);
        if self.is_reported || self.looks <= INTERVALS || self.waits_for_processor(thread) {
            return Change::None;
        }
        self.is_reported = true;
        Change::Blocked
    }

    /// Returns true if the thread would run and has had little CPU time in this poll. What cannot be read counts as blocked.
    fn waits_for_processor(&self, thread: Option<Thread>) -> bool {
        let (Some(cpu_before), Some(thread)) = (self.cpu_before, thread) else { return false };
        thread.is_runnable && thread.cpu.saturating_sub(cpu_before) < CPU_MIN
    }

    /// Begins to count anew.
    fn forget(&mut self) {
        self.looks = 0;
    }
}

/// Reports in the trace and in the error scope of the work that blocks.
fn report_blocked(slot: &Slot, polls: u64) {
    let Some(work) = slot.work() else { return };
    // The poll may have ended just now, and the work may be that of the next one
    if slot.polls() != polls {
        return;
    }
    let blocked_ms = (INTERVAL * INTERVALS).as_millis();
    let error = WorkerBlocked { work: work.what.name(), blocked_ms };
    let waits_in = kernel::waits_in(slot.thread_id);
    let of_thread = [
        ("thread", slot.thread_name.as_str()),
        ("thread.waits_in", waits_in.as_deref().unwrap_or("not told")),
    ];
    send(&work, "worker-blocked", &error, &of_thread);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thread_inside_one_poll_is_reported_once() {
        let mut seen = Seen::default();
        let looks: Vec<Change> = [1, 1, 1, 1, 1].map(|polls| seen.look(polls, None)).into();
        let expected = [Change::None, Change::None, Change::Blocked, Change::None, Change::None];
        assert_eq!(looks, expected);
        assert_eq!(seen.look(2, None), Change::Continues);
        assert_eq!(seen.look(2, None), Change::None);
    }

    #[test]
    fn thread_between_polls_or_in_other_polls_is_not_reported() {
        let mut seen = Seen::default();
        for polls in [0, 0, 0, 0, 1, 3, 5, 7, 8, 8, 8, 8] {
            assert_eq!(seen.look(polls, None), Change::None, "{polls}");
        }
    }

    #[test]
    fn stopped_process_is_not_blocked() {
        let mut seen = Seen::default();
        for _ in 0..10 {
            seen.forget();
            assert_eq!(seen.look(1, None), Change::None);
        }
    }

    #[test]
    fn thread_without_a_processor_is_not_blocked() {
        let thread = |is_runnable, cpu_ms| Some(Thread { is_runnable, cpu: Duration::from_millis(cpu_ms) });
        let mut starved = Seen::default();
        for cpu_ms in [5_000, 5_000, 5_010, 5_400, 5_990] {
            assert_eq!(starved.look(1, thread(true, cpu_ms)), Change::None, "{cpu_ms}");
        }
        assert_eq!(
            starved.look(1, thread(true, 6_000)),
            Change::Blocked,
            "a second of computing in one poll"
        );
        let mut asleep = Seen::default();
        let looks: Vec<Change> = [1, 1, 1].map(|polls| asleep.look(polls, thread(false, 5_000))).into();
        assert_eq!(looks, [Change::None, Change::None, Change::Blocked], "a thread that sleeps needs none");
    }
}
