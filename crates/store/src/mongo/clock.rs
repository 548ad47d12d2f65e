//! The store's time. Sweepers compare timestamps of many processes, which must not depend on the clock that wrote them.

use std::sync::atomic::{AtomicI64, Ordering};

use bson::DateTime;

/// Normal difference between clocks. A smaller one is ignored, so that times do not jitter with each reading.
const IGNORED_MS: i64 = 1_000;

/// This process's clock, corrected to the store's.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    /// Lead of the store's clock over this process's. Negative when it is behind.
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
        let before_ms = self.ahead_ms.load(Ordering::Relaxed);
        let ahead_ms = lead_ms(before_ms, sent_at_ms, self.local_ms(), server_time.timestamp_millis());
        self.ahead_ms.store(ahead_ms, Ordering::Relaxed);
    }

    pub(crate) fn local_ms(&self) -> i64 {
        DateTime::now().timestamp_millis().saturating_add(self.off_by_ms)
    }
}

/// Lead of the server's clock after an answer: `before_ms`, changed only as far as the answer disproves it.
///
/// The server read `server_ms` at any moment between these two times of this process. A slow answer, or a process that was
/// stopped after it had sent the request, therefore disproves little.
fn lead_ms(before_ms: i64, sent_at_ms: i64, received_at_ms: i64, server_ms: i64) -> i64 {
    let smallest_ms = server_ms.saturating_sub(received_at_ms);
    let largest_ms = server_ms.saturating_sub(sent_at_ms);
    if smallest_ms > before_ms.saturating_add(IGNORED_MS) {
        smallest_ms
    } else if largest_ms < before_ms.saturating_sub(IGNORED_MS) {
        largest_ms
    } else {
        before_ms
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

    #[test]
    fn slow_answer_moves_no_clock() {
        let clock = Clock::default();
        let now_ms = clock.local_ms();
        // The server answered at the end of a stall of eight seconds, then at its begin before this process was stopped.
        for server_ms in [now_ms, now_ms - 8_000, now_ms - 4_000] {
            clock.update(now_ms - 8_000, DateTime::from_millis(server_ms));
            assert_eq!(clock.ahead_ms.load(Ordering::Relaxed), 0, "{}", now_ms - server_ms);
        }
    }

    #[test]
    fn lead_changes_only_as_far_as_it_is_disproved() {
        for (before_ms, server_ms, ahead_ms) in [
            (0, 9_000, 0),
            (0, 8_999, -1_001),
            (0, 19_000, 0),
            (0, 19_001, 1_001),
            (0, 78_000, 60_000),
            (0, -50_000, -60_000),
            (60_000, 75_000, 60_000),
            (60_000, 14_000, 4_000),
        ] {
            assert_eq!(lead_ms(before_ms, 10_000, 18_000, server_ms), ahead_ms, "{before_ms} {server_ms}");
        }
    }
}
