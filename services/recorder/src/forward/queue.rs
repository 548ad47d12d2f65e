//! Queue of the copies that wait to be sent for one project.
//!
//! It has two classes, like the transport of the services. Errors, check-ins, sessions and feedback go first and have room
//! that spans, logs and metrics cannot take. A full class drops its oldest copies, because new ones describe the present. Copies
//! in files wait apart from both and are sent one at a time.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use telemetry::Category;
use tokio::sync::Notify;

use super::{large::LargeCopy, volume::Volume};
use crate::journal::{BodyKind, Encoding};

/// Largest number of waiting copies in each class, for one project at a real Sentry.
const WAITING_MAX: usize = 128;
/// Largest number of waiting copies in files.
const LARGE_WAITING_MAX: usize = 16;

/// A copy that waits to be sent.
#[derive(Debug)]
pub(super) struct QueuedCopy {
    pub(super) kind: BodyKind,
    pub(super) encoding: Encoding,
    pub(super) body: Bytes,
    pub(super) volumes: Vec<Volume>,
}

#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    bytes_max: usize,
    copies_max: usize,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    first: Class,
    rest: Class,
    large: VecDeque<LargeCopy>,
}

#[derive(Debug, Default)]
struct Class {
    copies: VecDeque<QueuedCopy>,
    bytes: usize,
}

impl Class {
    fn pop(&mut self) -> Option<QueuedCopy> {
        let copy = self.copies.pop_front()?;
        self.bytes -= copy.body.len();
        Some(copy)
    }

    /// Appends a copy, for which it drops the oldest when there is no room. Returns the copies that found no room.
    fn push(&mut self, copy: QueuedCopy, bytes_max: usize, copies_max: usize) -> Vec<QueuedCopy> {
        if copy.body.len() > bytes_max {
            return vec![copy];
        }
        let mut lost = Vec::new();
        while self.copies.len() >= copies_max || self.bytes + copy.body.len() > bytes_max {
            let Some(oldest) = self.pop() else { break };
            lost.push(oldest);
        }
        self.bytes += copy.body.len();
        self.copies.push_back(copy);
        lost
    }
}

impl Queue {
    /// Creates a queue with this limit of bytes for each class.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self::with_limits(bytes_max, WAITING_MAX)
    }

    /// Creates a queue with these limits of bytes and of copies for each class.
    pub(super) fn with_limits(bytes_max: usize, copies_max: usize) -> Self {
        Self { waiting: Mutex::default(), bytes_max, copies_max, changed: Notify::new() }
    }

    /// Queues a copy. Returns the copies that found no room, which are older ones or the new one itself.
    pub(super) fn push(&self, copy: QueuedCopy) -> Vec<QueuedCopy> {
        let mut waiting = self.waiting();
        let class = if has_priority(&copy.volumes) { &mut waiting.first } else { &mut waiting.rest };
        let lost = class.push(copy, self.bytes_max, self.copies_max);
        drop(waiting);
        self.changed.notify_waiters();
        lost
    }

    /// Queues a copy in a file. Returns the oldest one when there is no room for it.
    pub(super) fn push_large(&self, copy: LargeCopy) -> Option<LargeCopy> {
        let mut waiting = self.waiting();
        let is_full = waiting.large.len() >= LARGE_WAITING_MAX;
        let lost = if is_full { waiting.large.pop_front() } else { None };
        waiting.large.push_back(copy);
        drop(waiting);
        self.changed.notify_waiters();
        lost
    }

    /// Waits for the next copy in a file.
    pub(super) async fn next_large(&self) -> LargeCopy {
        loop {
            // As below.
            let changed = self.changed.notified();
            let copy = self.waiting().large.pop_front();
            if let Some(copy) = copy {
                return copy;
            }
            changed.await;
        }
    }

    /// Waits for the next copy of the first class, or of the rest if `takes_rest` is set and the first class is empty.
    pub(super) async fn next(&self, takes_rest: bool) -> QueuedCopy {
        loop {
            // Created before the queue is checked, so that a copy that arrives right after the check is not missed.
            let changed = self.changed.notified();
            if let Some(copy) = self.take(takes_rest) {
                return copy;
            }
            changed.await;
        }
    }

    fn take(&self, takes_rest: bool) -> Option<QueuedCopy> {
        let mut waiting = self.waiting();
        let copy = waiting.first.pop();
        if takes_rest { copy.or_else(|| waiting.rest.pop()) } else { copy }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Every statement leaves the value consistent, so a poisoned lock can be used.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn has_priority(volumes: &[Volume]) -> bool {
    let first = [Category::Error, Category::Monitor, Category::Session, Category::Feedback];
    volumes.iter().any(|volume| first.contains(&volume.category))
}

#[cfg(test)]
mod tests {
    use futures::poll;

    use super::*;

    fn copy(category: Category, name: u8, bytes: usize) -> QueuedCopy {
        let volumes = vec![Volume { category, quantity: 1 }];
        let body = Bytes::from(vec![name; bytes]);
        QueuedCopy { kind: BodyKind::Envelope, encoding: Encoding::Identity, body, volumes }
    }

    fn names(copies: &[QueuedCopy]) -> Vec<u8> {
        copies.iter().map(|copy| copy.body[0]).collect()
    }

    #[tokio::test]
    async fn errors_are_queued_before_transactions() {
        let queue = Queue::new(1_000);
        for _ in 0..WAITING_MAX {
            assert!(queue.push(copy(Category::Transaction, 1, 2)).is_empty());
        }
        for (name, category) in
            [(7, Category::Error), (8, Category::Monitor), (9, Category::Feedback), (10, Category::Session)]
        {
            assert!(queue.push(copy(category, name, 2)).is_empty());
        }
        for name in [7, 8, 9] {
            assert_eq!(queue.next(true).await.body[0], name);
        }
        assert_eq!(queue.next(false).await.body[0], 10);
        assert!(poll!(Box::pin(queue.next(false))).is_pending(), "one sender leaves transactions alone");
        assert_eq!(queue.next(true).await.body[0], 1);
    }

    #[tokio::test]
    async fn full_class_drops_its_own_oldest_copies() {
        let queue = Queue::new(1_000);
        queue.push(copy(Category::Error, 9, 1));
        for name in 0..3 {
            assert!(queue.push(copy(Category::Transaction, name, 300)).is_empty());
        }
        assert_eq!(names(&queue.push(copy(Category::LogItem, 4, 500))), [0, 1], "by bytes");
        assert_eq!(names(&queue.push(copy(Category::LogItem, 5, 1_001))), [5], "never fits");
        let small = (0..WAITING_MAX).map(|_| queue.push(copy(Category::Span, 6, 1)).len());
        assert_eq!(small.sum::<usize>(), 2, "by number: the two that were there");
        assert_eq!(queue.next(true).await.body[0], 9);
    }

    #[tokio::test]
    async fn push_wakes_a_waiting_sender() {
        let queue = Queue::new(1_000);
        let mut next = Box::pin(queue.next(true));
        assert!(poll!(next.as_mut()).is_pending());
        queue.push(copy(Category::Transaction, 1, 2));
        assert_eq!(next.await.body[0], 1);
    }
}
