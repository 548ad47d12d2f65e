//! The watchdog's eyes: what each lane is doing, and since when.
//!
//! We poll Kafka whatever the handlers do, so `max.poll.interval.ms` never fires for a stuck one; this does instead.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What one lane does. Written by its worker, read by the owner's tick.
#[derive(Debug)]
pub(crate) struct LaneWatch {
    origin: Instant,
    /// Milliseconds after `origin` at which the running attempt began, plus one; 0 when none runs.
    attempt_began: AtomicU64,
    /// More than 0 while the lane waits on purpose for the next attempt.
    holding: AtomicU64,
}

impl LaneWatch {
    pub(crate) fn new(origin: Instant) -> Self {
        Self { origin, attempt_began: AtomicU64::new(0), holding: AtomicU64::new(0) }
    }

    /// An attempt runs until the guard is dropped.
    pub(crate) fn attempt(&self) -> AttemptGuard<'_> {
        self.attempt_began.store(self.now_ms() + 1, Ordering::Relaxed);
        AttemptGuard(self)
    }

    /// The lane waits on purpose until the guard is dropped.
    pub(crate) fn hold(&self) -> HoldGuard<'_> {
        self.holding.fetch_add(1, Ordering::Relaxed);
        HoldGuard(self)
    }

    /// For how long the running attempt has been running.
    pub(crate) fn running_for(&self) -> Option<Duration> {
        let began = self.attempt_began.load(Ordering::Relaxed).checked_sub(1)?;
        Some(Duration::from_millis(self.now_ms().saturating_sub(began)))
    }

    pub(crate) fn is_holding(&self) -> bool {
        self.holding.load(Ordering::Relaxed) > 0
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }
}

pub(crate) struct AttemptGuard<'a>(&'a LaneWatch);

impl Drop for AttemptGuard<'_> {
    fn drop(&mut self) {
        self.0.attempt_began.store(0, Ordering::Relaxed);
    }
}

pub(crate) struct HoldGuard<'a>(&'a LaneWatch);

impl Drop for HoldGuard<'_> {
    fn drop(&mut self) {
        self.0.holding.fetch_sub(1, Ordering::Relaxed);
    }
}
