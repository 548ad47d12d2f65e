//! The store's time. Sweepers compare timestamps of many processes, which must not depend on the clock that wrote them.

use std::sync::atomic::{AtomicI64, Ordering};

use bson::DateTime;

/// Normal difference between clocks. A smaller one is ignored, so that times do not jitter with each reading.
const IGNORED_MS: i64 = 1_000;

/// This process's clock, corrected to the store's.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    /// Lead of the store's clock over this process's.
    ahead_ms: AtomicI64,
    /// Simulated error of this process's clock, for tests.
    off_by_ms: i64,
}

impl Clock {
    pub(crate) fn off_by(ms: i64) -> Self {
        Self { off_by_ms: ms, ..Self::default() }
    }

    /// Returns the store's time, according to the latest answer.
    pub(crate) fn now(&self) -> DateTime {
        DateTime::from_millis(self.local_ms().saturating_add(self.ahead_ms.load(Ordering::Relaxed)))
    }

    /// Updates the correction from an answer to a request that was sent at `sent_at_ms` by this process's clock.
    pub(crate) fn update(&self, sent_at_ms: i64, server_time: DateTime) {
        let received_at_ms = self.local_ms();
        let middle_ms = sent_at_ms.saturating_add(received_at_ms.saturating_sub(sent_at_ms) / 2);
        let ahead_ms = server_time.timestamp_millis().saturating_sub(middle_ms);
        let ahead_ms = if ahead_ms.abs() < IGNORED_MS { 0 } else { ahead_ms };
        self.ahead_ms.store(ahead_ms, Ordering::Relaxed);
    }

    pub(crate) fn local_ms(&self) -> i64 {
        DateTime::now().timestamp_millis().saturating_add(self.off_by_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_large_clock_errors_are_corrected() {
        let clock = Clock::off_by(3_600_000);
        clock.update(clock.local_ms(), DateTime::now());
        let off_ms = clock.now().timestamp_millis().abs_diff(DateTime::now().timestamp_millis());
        assert!(off_ms < 1_000, "{off_ms}");
        let clock = Clock::default();
        clock.update(clock.local_ms(), DateTime::from_millis(clock.local_ms().saturating_add(400)));
        assert_eq!(clock.ahead_ms.load(Ordering::Relaxed), 0);
    }
}
