//! Jobs on their way to the writer, handed over in batches.
//!
//! A transaction that is written and sent alone wakes two threads here and two more where it arrives; ten for each bet are then
//! most of what telemetry costs. So the first job of a batch waits a moment for company. What somebody waits for, or what a
//! dying process must not keep to itself, does not wait.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// With so many there is company enough.
const BATCH_ENOUGH: usize = 64;

/// Whether a job may wait for company.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Haste {
    MayLinger,
    Now,
}

/// The sender's end; the receiver learns when the last clone is gone.
#[derive(Debug)]
pub(super) struct Sender<T>(Arc<Senders<T>>);

/// The receiver's end; without it every job is refused, and those that wait are dropped: nobody may wait for them.
#[derive(Debug)]
pub(super) struct Receiver<T>(Arc<Shared<T>>);

/// All senders together: closes the queue when the last one goes.
#[derive(Debug)]
struct Senders<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    waiting: Mutex<Waiting<T>>,
    changed: Condvar,
    jobs_max: usize,
    linger: Duration,
}

#[derive(Debug)]
struct Waiting<T> {
    jobs: VecDeque<T>,
    is_urgent: bool,
    is_closed: bool,
}

/// A queue of at most `jobs_max`, whose first job waits at most `linger` for company.
pub(super) fn queue<T>(jobs_max: usize, linger: Duration) -> (Sender<T>, Receiver<T>) {
    let waiting = Waiting { jobs: VecDeque::new(), is_urgent: false, is_closed: false };
    let shared = Arc::new(Shared { waiting: Mutex::new(waiting), changed: Condvar::new(), jobs_max, linger });
    (Sender(Arc::new(Senders(Arc::clone(&shared)))), Receiver(shared))
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        // whole after every statement
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
        let jobs = mem::take(&mut waiting.jobs);
        drop(waiting);
        drop(jobs);
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// A job that was not taken.
#[derive(Debug)]
pub(super) enum Refused<T> {
    Full(T),
    Closed(T),
}

impl<T> Sender<T> {
    /// Hands a job over, or gives it back. Never waits for the receiver.
    pub(super) fn send(&self, job: T, haste: Haste) -> Result<(), Refused<T>> {
        let shared = &self.0.0;
        let mut waiting = shared.lock();
        if waiting.is_closed {
            return Err(Refused::Closed(job));
        }
        if waiting.jobs.len() >= shared.jobs_max {
            return Err(Refused::Full(job));
        }
        waiting.jobs.push_back(job);
        let was_urgent = waiting.is_urgent;
        waiting.is_urgent |= haste == Haste::Now || waiting.jobs.len() >= BATCH_ENOUGH;
        let must_wake = waiting.jobs.len() == 1 || waiting.is_urgent && !was_urgent;
        drop(waiting);
        if must_wake {
            shared.changed.notify_one();
        }
        Ok(())
    }
}

impl<T> Receiver<T> {
    /// What there is, after waiting for it at most `idle` and then for its company. Empty: nothing came. `None`: nothing will.
    pub(super) fn take(&self, idle: Duration) -> Option<VecDeque<T>> {
        let shared = &self.0;
        let empty = |waiting: &mut Waiting<T>| waiting.jobs.is_empty() && !waiting.is_closed;
        let alone = |waiting: &mut Waiting<T>| !waiting.is_urgent && !waiting.is_closed;
        let unpoisoned = PoisonError::into_inner;
        let (mut waiting, _) =
            shared.changed.wait_timeout_while(shared.lock(), idle, empty).unwrap_or_else(unpoisoned);
        if !waiting.jobs.is_empty() {
            (waiting, _) =
                shared.changed.wait_timeout_while(waiting, shared.linger, alone).unwrap_or_else(unpoisoned);
        }
        waiting.is_urgent = false;
        let jobs = mem::take(&mut waiting.jobs);
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

    #[test]
    fn jobs_that_may_linger_come_together() {
        let (sender, receiver) = queue(10, SHORT);
        for job in 0..3 {
            sender.send(job, Haste::MayLinger).unwrap();
        }
        let begun = Instant::now();
        assert_eq!(receiver.take(LONG).unwrap(), [0, 1, 2]);
        assert!(begun.elapsed() >= SHORT, "it waited for more: {:?}", begun.elapsed());
    }

    #[test]
    fn an_urgent_job_takes_the_others_along_at_once() {
        let (sender, receiver) = queue(10, LONG);
        sender.send(1, Haste::MayLinger).unwrap();
        sender.send(2, Haste::Now).unwrap();
        assert_eq!(receiver.take(LONG).unwrap(), [1, 2]);
    }

    #[test]
    fn the_haste_of_one_batch_is_not_the_next_ones() {
        let (sender, receiver) = queue(10, SHORT);
        sender.send(1, Haste::Now).unwrap();
        assert_eq!(receiver.take(LONG).unwrap(), [1]);
        sender.send(2, Haste::MayLinger).unwrap();
        let begun = Instant::now();
        assert_eq!(receiver.take(LONG).unwrap(), [2]);
        assert!(begun.elapsed() >= SHORT, "{:?}", begun.elapsed());
    }

    #[test]
    fn an_urgent_job_ends_the_wait_of_those_before_it() {
        let (sender, receiver) = queue(10, LONG);
        sender.send(1, Haste::MayLinger).unwrap();
        let taken = std::thread::spawn(move || receiver.take(LONG).unwrap());
        sender.send(2, Haste::Now).unwrap();
        assert_eq!(taken.join().unwrap(), [1, 2]);
    }

    #[test]
    fn enough_jobs_do_not_linger() {
        let (sender, receiver) = queue(BATCH_ENOUGH, LONG);
        for job in 0..BATCH_ENOUGH {
            sender.send(job, Haste::MayLinger).unwrap();
        }
        assert_eq!(receiver.take(LONG).unwrap().len(), BATCH_ENOUGH);
    }

    #[test]
    fn a_full_queue_gives_the_job_back() {
        let (sender, receiver) = queue(1, SHORT);
        sender.send(1, Haste::Now).unwrap();
        assert!(matches!(sender.send(2, Haste::Now), Err(Refused::Full(2))));
        assert_eq!(receiver.take(LONG).unwrap(), [1]);
        sender.send(3, Haste::Now).unwrap();
    }

    #[test]
    fn either_end_closes_it_and_what_was_taken_is_not_lost() {
        let (sender, receiver) = queue(10, LONG);
        let second = sender.clone();
        sender.send(1, Haste::MayLinger).unwrap();
        drop(sender);
        second.send(2, Haste::MayLinger).unwrap();
        drop(second);
        assert_eq!(receiver.take(LONG).unwrap(), [1, 2]);
        assert!(receiver.take(LONG).is_none());
        let (sender, receiver) = queue(10, LONG);
        let job = Arc::new(());
        sender.send(Arc::clone(&job), Haste::Now).unwrap();
        drop(receiver);
        assert_eq!(Arc::strong_count(&job), 1, "what waited is dropped");
        assert!(matches!(sender.send(job, Haste::Now), Err(Refused::Closed(_))));
    }

    #[test]
    fn nothing_is_an_empty_batch_after_a_while() {
        let (sender, receiver) = queue::<u8>(10, LONG);
        assert_eq!(receiver.take(Duration::from_millis(5)).unwrap().len(), 0);
        drop(sender);
    }
}
