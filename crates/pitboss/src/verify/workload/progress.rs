//! State of a phase in progress.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// State of a phase in progress.
#[derive(Debug, Default)]
pub struct Progress {
    units: AtomicU64,
    failed: AtomicU64,
    /// Time of each unit.
    times: Mutex<Vec<Duration>>,
    first_ended: OnceLock<Instant>,
    all_ended: OnceLock<Instant>,
}

impl Progress {
    /// Number of units that have ended.
    #[must_use]
    pub fn units(&self) -> u64 {
        self.units.load(Ordering::Relaxed)
    }

    /// Number of units that were not answered with success.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Time of each ended unit, in milliseconds.
    #[must_use]
    pub fn times_ms(&self) -> Vec<f64> {
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.iter().map(|time| time.as_secs_f64() * 1_000.0).collect()
    }

    /// Moment at which the first unit ended.
    #[must_use]
    pub fn first_ended(&self) -> Option<Instant> {
        self.first_ended.get().copied()
    }

    /// Moment at which the last unit ended. `None` while the work continues.
    #[must_use]
    pub fn all_ended(&self) -> Option<Instant> {
        self.all_ended.get().copied()
    }

    pub(super) fn unit_ended(&self, succeeded: bool, took: Duration) {
        self.first_ended.get_or_init(Instant::now);
        self.units.fetch_add(1, Ordering::Relaxed);
        self.failed.fetch_add(u64::from(!succeeded), Ordering::Relaxed);
        self.times.lock().unwrap_or_else(PoisonError::into_inner).push(took);
    }

    pub(in crate::verify) fn finish(&self) {
        self.all_ended.get_or_init(Instant::now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_millis(20);

    #[test]
    fn first_and_last_unit_are_dated() {
        let progress = Progress::default();
        assert_eq!((progress.units(), progress.first_ended(), progress.all_ended()), (0, None, None));
        progress.unit_ended(true, TOOK);
        let first = progress.first_ended();
        progress.unit_ended(false, TOOK);
        assert_eq!((progress.units(), progress.failed(), progress.all_ended()), (2, 1, None));
        assert_eq!(progress.times_ms(), [20.0, 20.0]);
        progress.finish();
        assert!(first.is_some() && progress.first_ended() == first && progress.all_ended() >= first);
    }
}
