//! Queue of jobs to the writer, which receives them in batches.
//!
//! A transaction that is written and sent alone wakes two threads here and two in the receiving process. Ten of them for each bet
//! would be most of the cost of telemetry. So the first job of a batch waits a moment for more. A job does not wait if a caller
//! waits for it, or if a process that dies could lose it.
//!
//! Errors, check-ins and sessions have separate limits and come first in each batch. A full queue drops its oldest job.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Number of jobs that end the wait for more.
const BATCH_ENOUGH: usize = 64;

/// Limit of jobs that wait for the end of a batch, which is the number of threads that may flush at once.
const LAST_MAX: usize = 64;

/// Position of a job in its batch, which also selects its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Priority {
    First,
    Rest,
    /// After everything that was sent before it. It is never dropped for another job.
    Last,
}

/// Limits of the number of jobs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) first_max: usize,
    pub(super) rest_max: usize,
}

/// Urgency of a job: it may wait for more jobs, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    CanWait,
    Urgent,
}

/// The sending end. The queue closes when the last clone is dropped.
#[derive(Debug)]
pub(super) struct Sender<T>(Arc<Senders<T>>);

/// The receiving end. Its drop discards all waiting jobs and refuses new ones, so that no thread waits for them.
#[derive(Debug)]
pub(super) struct Receiver<T>(Arc<Shared<T>>);

/// All senders together. Its drop closes the queue.
#[derive(Debug)]
struct Senders<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    waiting: Mutex<Waiting<T>>,
    changed: Condvar,
    limits: Limits,
    batch_delay: Duration,
}

#[derive(Debug)]
struct Waiting<T> {
    first: VecDeque<T>,
    rest: VecDeque<T>,
    last: VecDeque<T>,
    is_urgent: bool,
    is_closed: bool,
}

impl<T> Waiting<T> {
    fn count(&self) -> usize {
        self.first.len() + self.rest.len() + self.last.len()
    }

    fn take(&mut self) -> VecDeque<T> {
        let mut jobs = mem::take(&mut self.first);
        jobs.append(&mut self.rest);
        jobs.append(&mut self.last);
        jobs
    }
}

/// Creates a queue with these limits, whose first job waits at most `batch_delay` for more.
pub(super) fn queue<T>(limits: Limits, batch_delay: Duration) -> (Sender<T>, Receiver<T>) {
    let waiting = Waiting {
        first: VecDeque::new(),
        rest: VecDeque::new(),
        last: VecDeque::new(),
        is_urgent: false,
        is_closed: false,
    };
    let shared =
        Arc::new(Shared { waiting: Mutex::new(waiting), changed: Condvar::new(), limits, batch_delay });
    (Sender(Arc::new(Senders(Arc::clone(&shared)))), Receiver(shared))
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        // Consistent after every statement, so a panic in another thread does not damage it
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Senders<T> {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.changed.notify_one();
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        waiting.is_closed = true;
        let jobs = waiting.take();
        drop(waiting);
        drop(jobs);
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// A refused job.
#[derive(Debug)]
pub(super) enum Refused<T> {
    Full(T),
    Closed(T),
}

impl<T> Sender<T> {
    /// Queues a job, or returns it as the error. Returns the job that was dropped for it. It never waits for the receiver.
    pub(super) fn send(&self, job: T, priority: Priority, urgency: Urgency) -> Result<Option<T>, Refused<T>> {
        let shared = &self.0.0;
        let mut waiting = shared.lock();
        if waiting.is_closed {
            return Err(Refused::Closed(job));
        }
        let (jobs, max) = match priority {
            Priority::First => (&mut waiting.first, shared.limits.first_max),
            Priority::Rest => (&mut waiting.rest, shared.limits.rest_max),
            Priority::Last if waiting.last.len() >= LAST_MAX => return Err(Refused::Full(job)),
            Priority::Last => (&mut waiting.last, LAST_MAX),
        };
        let dropped = if jobs.len() >= max { jobs.pop_front() } else { None };
        jobs.push_back(job);
        let was_urgent = waiting.is_urgent;
        waiting.is_urgent |= urgency == Urgency::Urgent || waiting.count() >= BATCH_ENOUGH;
        let must_wake = waiting.count() == 1 || waiting.is_urgent && !was_urgent;
        drop(waiting);
        if must_wake {
            shared.changed.notify_one();
        }
        Ok(dropped)
    }
}

impl<T> Receiver<T> {
    /// Waits at most `idle` for a job and `batch_delay` for more. A time-out returns an empty batch, and a closed queue `None`.
    pub(super) fn take(&self, idle: Duration) -> Option<VecDeque<T>> {
        let shared = &self.0;
        let empty = |waiting: &mut Waiting<T>| waiting.count() == 0 && !waiting.is_closed;
        let alone = |waiting: &mut Waiting<T>| !waiting.is_urgent && !waiting.is_closed;
        let unpoisoned = PoisonError::into_inner;
        let (mut waiting, _) =
            shared.changed.wait_timeout_while(shared.lock(), idle, empty).unwrap_or_else(unpoisoned);
        if waiting.count() > 0 {
            (waiting, _) = shared
                .changed
                .wait_timeout_while(waiting, shared.batch_delay, alone)
                .unwrap_or_else(unpoisoned);
        }
        waiting.is_urgent = false;
        let jobs = waiting.take();
        (!jobs.is_empty() || !waiting.is_closed).then_some(jobs)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Longer than any test may take.
    const LONG: Duration = Duration::from_secs(600);
    const SHORT: Duration = Duration::from_millis(20);

    fn limits(max: usize) -> Limits {
        Limits { first_max: max, rest_max: max }
    }

    #[test]
    fn deferrable_jobs_are_batched() {
        let (sender, receiver) = queue(limits(10), SHORT);
        for job in 0..3 {
            sender.send(job, Priority::Rest, Urgency::CanWait).unwrap();
        }
        let started = Instant::now();
        assert_eq!(receiver.take(LONG).unwrap(), [0, 1, 2]);
        assert!(started.elapsed() >= SHORT, "it waited for more: {:?}", started.elapsed());
    }

    #[test]
    fn urgent_job_flushes_batch() {
        let (sender, receiver) = queue(limits(10), LONG);
        sender.send(1, Priority::Rest, Urgency::CanWait).unwrap();
        sender.send(2, Priority::Rest, Urgency::Urgent).unwrap();
        assert_eq!(receiver.take(LONG).unwrap(), [1, 2]);
    }

    #[test]
    fn urgency_is_reset_after_batch() {
        let (sender, receiver) = queue(limits(10), SHORT);
        sender.send(1, Priority::Rest, Urgency::Urgent).unwrap();
        assert_eq!(receiver.take(LONG).unwrap(), [1]);
        sender.send(2, Priority::Rest, Urgency::CanWait).unwrap();
        let started = Instant::now();
        assert_eq!(receiver.take(LONG).unwrap(), [2]);
        assert!(started.elapsed() >= SHORT, "{:?}", started.elapsed());
    }

    #[test]
    fn urgent_job_ends_the_wait() {
        let (sender, receiver) = queue(limits(10), LONG);
        sender.send(1, Priority::Rest, Urgency::CanWait).unwrap();
        let taken = std::thread::spawn(move || receiver.take(LONG).unwrap());
        sender.send(2, Priority::Rest, Urgency::Urgent).unwrap();
        assert_eq!(taken.join().unwrap(), [1, 2]);
    }

    #[test]
    fn full_batch_does_not_wait() {
        let (sender, receiver) = queue(limits(BATCH_ENOUGH), LONG);
        for job in 0..BATCH_ENOUGH {
            sender.send(job, Priority::Rest, Urgency::CanWait).unwrap();
        }
        assert_eq!(receiver.take(LONG).unwrap().len(), BATCH_ENOUGH);
    }

    #[test]
    fn full_place_drops_its_oldest() {
        let (sender, receiver) = queue(limits(2), SHORT);
        sender.send(9, Priority::First, Urgency::Urgent).unwrap();
        let dropped: Vec<Option<u8>> =
            (0..4).map(|job| sender.send(job, Priority::Rest, Urgency::CanWait).unwrap()).collect();
        assert_eq!(dropped, [None, None, Some(0), Some(1)]);
        assert_eq!(receiver.take(LONG).unwrap(), [9, 2, 3]);
    }

    #[test]
    fn errors_come_first_and_flush_last() {
        let (sender, receiver) = queue(limits(2), LONG);
        sender.send("flush", Priority::Last, Urgency::CanWait).unwrap();
        sender.send("span", Priority::Rest, Urgency::CanWait).unwrap();
        sender.send("error", Priority::First, Urgency::Urgent).unwrap();
        assert_eq!(receiver.take(LONG).unwrap(), ["error", "span", "flush"]);
        for _ in 0..LAST_MAX {
            assert_eq!(sender.send("flush", Priority::Last, Urgency::CanWait).unwrap(), None);
        }
        assert!(matches!(
            sender.send("one more", Priority::Last, Urgency::Urgent),
            Err(Refused::Full("one more"))
        ));
    }

    #[test]
    fn either_end_closes_queue() {
        let (sender, receiver) = queue(limits(10), LONG);
        let second = sender.clone();
        sender.send(1, Priority::Rest, Urgency::CanWait).unwrap();
        drop(sender);
        second.send(2, Priority::Rest, Urgency::CanWait).unwrap();
        drop(second);
        assert_eq!(receiver.take(LONG).unwrap(), [1, 2]);
        assert!(receiver.take(LONG).is_none());
        let (sender, receiver) = queue(limits(10), LONG);
        let job = Arc::new(());
        sender.send(Arc::clone(&job), Priority::Rest, Urgency::Urgent).unwrap();
        drop(receiver);
        assert_eq!(Arc::strong_count(&job), 1, "waiting jobs are dropped");
        assert!(matches!(sender.send(job, Priority::Rest, Urgency::Urgent), Err(Refused::Closed(_))));
    }

    #[test]
    fn idle_timeout_returns_empty_batch() {
        let (sender, receiver) = queue::<u8>(limits(10), LONG);
        assert_eq!(receiver.take(Duration::from_millis(5)).unwrap().len(), 0);
        drop(sender);
    }
}
