//! Decides when a part that died is restarted. It is pure, so that every rule can be tested.
//!
//! The pause after the first death is 0.5 s. Each further death doubles it, up to 30 s. After a run of 10 s or more the next
//! pause is the shortest again, so a part that is killed now and then restarts quickly. Five deaths within a minute are a crash
//! loop, however long the runs in between were.

use std::collections::VecDeque;

/// Restart rules.
#[derive(Clone, Copy, Debug)]
pub struct RestartPolicy {
    /// First pause.
    pub backoff_ms_min: u64,
    /// Longest pause.
    pub backoff_ms_max: u64,
    /// Run time after which the next pause is the shortest again.
    pub stable_run_ms: u64,
    /// Number of deaths …
    pub crash_loop_deaths: usize,
    /// … within this time that are a crash loop.
    pub crash_loop_window_ms: u64,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            backoff_ms_min: 500,
            backoff_ms_max: 30_000,
            stable_run_ms: 10_000,
            crash_loop_deaths: 5,
            crash_loop_window_ms: 60_000,
        }
    }
}

/// Consequence of a death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Pause before the next start.
    pub pause_ms: u64,
    /// `true` if the part is in a crash loop.
    pub crash_looping: bool,
}

/// Recent deaths of one part.
#[derive(Clone, Debug, Default)]
pub struct Deaths {
    /// Times of the last deaths, at most [`RestartPolicy::crash_loop_deaths`].
    recent_ms: VecDeque<u64>,
    /// Number of deaths without a stable run between them.
    in_a_row: u32,
    /// In a crash loop, without a stable run since. The pauses are long by then, so the window alone would not show it.
    looping: bool,
}

impl Deaths {
    /// Records a death at `now_ms` after a run of `ran_ms`.
    pub fn record(&mut self, now_ms: u64, ran_ms: u64, policy: &RestartPolicy) -> Verdict {
        self.in_a_row = if ran_ms >= policy.stable_run_ms { 1 } else { self.in_a_row.saturating_add(1) };
        self.recent_ms.push_back(now_ms);
        while self.recent_ms.len() > policy.crash_loop_deaths {
            self.recent_ms.pop_front();
        }
        let oldest = self.recent_ms.front().copied().unwrap_or(now_ms);
        let too_often = self.recent_ms.len() >= policy.crash_loop_deaths
            && now_ms.saturating_sub(oldest) <= policy.crash_loop_window_ms;
        self.looping = too_often || (self.looping && ran_ms < policy.stable_run_ms);
        let doublings = (self.in_a_row - 1).min(32);
        let pause_ms = policy.backoff_ms_min.saturating_mul(1 << doublings).min(policy.backoff_ms_max);
        Verdict { pause_ms, crash_looping: self.looping }
    }

    /// Returns `true` if it died five times in a minute and had no stable run since.
    #[must_use]
    pub fn crash_looping(&self) -> bool {
        self.looping
    }

    /// Clears the record, because the part was started by hand.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_doubles_up_to_30_s() {
        let (mut deaths, policy) = (Deaths::default(), RestartPolicy::default());
        let pauses: Vec<u64> = (0..9).map(|n| deaths.record(n * 100_000, 0, &policy).pause_ms).collect();
        assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
    }

    #[test]
    fn stable_run_resets_pause() {
        let (mut deaths, policy) = (Deaths::default(), RestartPolicy::default());
        for n in 0..4 {
            deaths.record(n, 10, &policy);
        }
        assert_eq!(deaths.record(100_000, 10_000, &policy).pause_ms, 500);
        assert_eq!(deaths.record(100_500, 9_999, &policy).pause_ms, 1_000);
    }

    #[test]
    fn five_deaths_in_a_minute_are_a_crash_loop() {
        let (mut deaths, policy) = (Deaths::default(), RestartPolicy::default());
        let loops: Vec<bool> =
            (0..5).map(|n| deaths.record(n * 15_000, 14_000, &policy).crash_looping).collect();
        assert_eq!(
            loops,
            [false, false, false, false, true],
            "the fifth comes exactly a minute after the first"
        );
        assert!(
            !deaths.record(75_001, 15_000, &policy).crash_looping,
            "a stable run, and less than five deaths in the last minute"
        );
    }

    #[test]
    fn crash_loop_remains_despite_long_pauses() {
        let (mut deaths, policy) = (Deaths::default(), RestartPolicy::default());
        let mut now_ms = 0;
        for n in 1..=20 {
            let verdict = deaths.record(now_ms, 5, &policy);
            assert_eq!(verdict.crash_looping, n >= 5, "death {n}");
            now_ms += verdict.pause_ms;
        }
    }

    #[test]
    fn number_of_stored_deaths_is_bounded() {
        let (mut deaths, policy) = (Deaths::default(), RestartPolicy::default());
        for n in 0..100_000 {
            deaths.record(n, 0, &policy);
        }
        assert_eq!(deaths.recent_ms.len(), policy.crash_loop_deaths);
    }
}
