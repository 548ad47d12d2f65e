//! Watchdog of the async runtime: a thread that notices when a worker does not return from a request, and reports what blocks it
//! while it does.
//!
//! A handler that calls something synchronous stops everything else on its worker, also the code that would report it. The event is
//! in the trace of the request, with its user and breadcrumbs, and is grouped by its route.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use sentry::Hub;

use crate::activity::{self, Slot};
use crate::report;

/// Interval of the looks. Each wakes a thread, so they are rare (ADR 7).
const INTERVAL: Duration = Duration::from_secs(1);
/// Number of whole intervals that a thread has to be inside of the same poll. A blocked worker is reported in the interval after them.
const INTERVALS: u32 = 2;

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
        // The process was stopped, or got no CPU time: a worker that did not run is not blocked
        let was_late = began_at.elapsed() > INTERVAL * 2;
        let slots = activity::slots();
        threads.retain(|id, _| slots.iter().any(|slot| slot.thread_id == *id));
        for slot in slots {
            let seen = threads.entry(slot.thread_id).or_default();
            if was_late {
                seen.forget();
            }
            match seen.look(slot.polls()) {
                Change::Blocked => report_blocked(&slot),
                Change::Continues => tracing::warn!("a worker of the async runtime is no longer blocked"),
                Change::None => {}
            }
        }
    }
}

/// What was seen of one thread.
#[derive(Debug, Default)]
struct Seen {
    polls: u64,
    looks: u32,
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
    fn look(&mut self, polls: u64) -> Change {
        let is_same_poll = polls == self.polls && polls % 2 == 1;
        if !is_same_poll {
            let was_reported = self.is_reported;
            *self = Self { polls, looks: 1, is_reported: false };
            return if was_reported { Change::Continues } else { Change::None };
        }
        self.looks = self.looks.saturating_add(1);
        if self.is_reported || self.looks <= INTERVALS {
            return Change::None;
        }
        self.is_reported = true;
        Change::Blocked
    }

    /// Begins to count anew.
    fn forget(&mut self) {
        self.looks = 0;
    }
}

/// Reports in the trace and in the error scope of the work that blocks.
fn report_blocked(slot: &Slot) {
    // It may have ended just now
    let Some(work) = slot.work() else { return };
    let blocked_ms = (INTERVAL * INTERVALS).as_millis();
    let error = WorkerBlocked { work: work.name.to_string(), blocked_ms };
    let kernel = waits_in(slot.thread_id);
    let details = [
        ("kind", "worker-blocked"),
        ("thread", slot.thread_name.as_str()),
        ("thread.waits_in", kernel.as_deref().unwrap_or("not told")),
    ];
    let fingerprint = ["worker-blocked", &*work.name];
    let send = || report::report_as(&fingerprint, &error, &details);
    Hub::run(work.hub, || work.span.in_scope(send));
}

/// The function of the kernel in which a thread waits, such as `hrtimer_nanosleep`. `0` means that it computes.
fn waits_in(thread_id: u64) -> Option<String> {
    const NAME_BYTES_MAX: usize = 64;
    let name = fs::read_to_string(format!("/proc/self/task/{thread_id}/wchan")).ok()?;
    (!name.is_empty() && name.len() <= NAME_BYTES_MAX).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thread_inside_one_poll_is_reported_once() {
        let mut seen = Seen::default();
        let looks: Vec<Change> = [1, 1, 1, 1, 1].map(|polls| seen.look(polls)).into();
        let expected = [Change::None, Change::None, Change::Blocked, Change::None, Change::None];
        assert_eq!(looks, expected);
        assert_eq!(seen.look(2), Change::Continues);
        assert_eq!(seen.look(2), Change::None);
    }

    #[test]
    fn thread_between_polls_or_in_other_polls_is_not_reported() {
        let mut seen = Seen::default();
        for polls in [0, 0, 0, 0, 1, 3, 5, 7, 8, 8, 8, 8] {
            assert_eq!(seen.look(polls), Change::None, "{polls}");
        }
    }

    #[test]
    fn stopped_process_is_not_blocked() {
        let mut seen = Seen::default();
        for _ in 0..10 {
            seen.forget();
            assert_eq!(seen.look(1), Change::None);
        }
    }
}
