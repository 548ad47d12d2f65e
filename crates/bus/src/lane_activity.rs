//! Activity of each slot, for the watchdog.
//!
//! The owner polls Kafka whatever the handlers do, so `max.poll.interval.ms` never detects a stuck handler. The watchdog does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Activity of one slot. Its worker writes it, and the owner's tick reads it.
#[derive(Debug)]
pub(crate) struct LaneActivity {
    origin: Instant,
    /// Start of the running attempt in milliseconds after `origin`, plus one. 0 when none runs.
    attempt_started_ms: AtomicU64,
    /// More than 0 while the record waits on purpose for its next attempt.
    holds: AtomicU64,
}

impl LaneActivity {
    pub(crate) fn new(origin: Instant) -> Self {
        Self { origin, attempt_started_ms: AtomicU64::new(0), holds: AtomicU64::new(0) }
    }

    /// Marks an attempt as running until the guard is dropped.
    pub(crate) fn attempt(&self) -> AttemptGuard<'_> {
        self.attempt_started_ms.store(self.now_ms() + 1, Ordering::Relaxed);
        AttemptGuard(self)
    }

    /// Marks the slot as waiting on purpose until the guard is dropped.
    pub(crate) fn hold(&self) -> HoldGuard<'_> {
        self.holds.fetch_add(1, Ordering::Relaxed);
        HoldGuard(self)
    }

    /// Returns the run time of the current attempt.
    pub(crate) fn running_for(&self) -> Option<Duration> {
        let started_ms = self.attempt_started_ms.load(Ordering::Relaxed).checked_sub(1)?;
        Some(Duration::from_millis(self.now_ms().saturating_sub(started_ms)))
    }

    pub(crate) fn is_holding(&self) -> bool {
        self.holds.load(Ordering::Relaxed) > 0
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }
}

pub(crate) struct AttemptGuard<'a>(&'a LaneActivity);

impl Drop for AttemptGuard<'_> {
    fn drop(&mut self) {
        self.0.attempt_started_ms.store(0, Ordering::Relaxed);
    }
}

pub(crate) struct HoldGuard<'a>(&'a LaneActivity);

impl Drop for HoldGuard<'_> {
    fn drop(&mut self) {
        self.0.holds.fetch_sub(1, Ordering::Relaxed);
    }
}
