//! What the admission of bets measures: rates, the shortest time to an outcome, and whether most outcomes are slow.

use std::time::Duration;

/// Length of a bucket of [`Rate`].
const BUCKET: Duration = Duration::from_millis(100);
/// Buckets of a second.
pub(super) const SECOND: u32 = 10;
/// Buckets of half a second.
pub(super) const HALF_SECOND: u32 = 5;
/// Buckets of a [`Rate`]: those of a second, and the newest, which is not complete.
const BUCKETS: usize = 11;
/// Window of [`Shortest`], in seconds.
const WINDOW_S: u64 = 60;
/// Weight of the newest outcome in [`Slowness`]. After six slow outcomes in a row, most of the latest were slow.
const WEIGHT: f64 = 1.0 / 8.0;

/// Number of the bucket that `now` is in.
pub(super) fn bucket_of(now: Duration) -> u64 {
    u64::try_from(now.as_millis() / BUCKET.as_millis()).unwrap_or(u64::MAX)
}

/// Counts of the last second. The newest bucket is not complete, so it counts in no rate.
#[derive(Debug, Default)]
pub(super) struct Rate {
    counts: [u32; BUCKETS],
    newest: u64,
}

impl Rate {
    /// Counts one.
    pub(super) fn add(&mut self, now: Duration) {
        self.advance(now);
        let count = &mut self.counts[slot(self.newest)];
        *count = count.saturating_add(1);
    }

    /// Mean rate of the last complete buckets.
    pub(super) fn per_s(&mut self, buckets: u32, now: Duration) -> f64 {
        self.advance(now);
        let complete = (1..=u64::from(buckets)).filter_map(|back| self.newest.checked_sub(back));
        let counted: u64 = complete.map(|bucket| u64::from(self.counts[slot(bucket)])).sum();
        counted as f64 / (BUCKET.as_secs_f64() * f64::from(buckets))
    }

    fn advance(&mut self, now: Duration) {
        let newest = bucket_of(now).max(self.newest);
        let passed = (newest - self.newest).min(BUCKETS as u64);
        for back in 0..passed {
            self.counts[slot(newest - back)] = 0;
        }
        self.newest = newest;
    }
}

fn slot(bucket: u64) -> usize {
    (bucket % BUCKETS as u64) as usize
}

/// Shortest time to an outcome in this window and in the one before. Without outcomes it stays.
#[derive(Debug, Default)]
pub(super) struct Shortest {
    window: u64,
    current: Option<Duration>,
    before: Option<Duration>,
}

impl Shortest {
    /// Adds a time. In a new window older times are forgotten.
    pub(super) fn add(&mut self, took: Duration, now: Duration) {
        let window = now.as_secs() / WINDOW_S;
        if window > self.window {
            self.window = window;
            self.before = self.current.take().or(self.before);
        }
        self.current = Some(self.current.map_or(took, |current| current.min(took)));
    }

    /// Adds a time, which can only lower the shortest.
    pub(super) fn lower(&mut self, took: Duration) {
        if self.get().is_none_or(|shortest| took < shortest) {
            self.current = Some(took);
        }
    }

    pub(super) fn get(&self) -> Option<Duration> {
        self.current.into_iter().chain(self.before).min()
    }
}

/// Whether most of the latest outcomes were slow. One fast or slow outcome among others changes nothing.
#[derive(Debug, Default)]
pub(super) struct Slowness {
    share: f64,
    since: Option<Duration>,
}

impl Slowness {
    pub(super) fn add(&mut self, is_slow: bool, now: Duration) {
        let newest = if is_slow { 1.0 } else { 0.0 };
        self.share += (newest - self.share) * WEIGHT;
        if self.share > 0.5 {
            self.since.get_or_insert(now);
        } else {
            self.since = None;
        }
    }

    /// Time since which most outcomes are slow.
    pub(super) fn since(&self) -> Option<Duration> {
        self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn rate_counts_complete_buckets_only() {
        let mut rate = Rate::default();
        for at in 0..10 {
            rate.add(ms(at * 100));
        }
        assert_eq!(rate.per_s(SECOND, ms(950)), 9.0, "the newest bucket is not complete");
        assert_eq!(rate.per_s(SECOND, ms(1_000)), 10.0);
        assert_eq!(rate.per_s(HALF_SECOND, ms(1_200)), 6.0, "three of five buckets");
        assert_eq!(rate.per_s(SECOND, ms(60_000)), 0.0, "old counts are gone");
    }

    #[test]
    fn shortest_time_is_that_of_two_windows() {
        let mut shortest = Shortest::default();
        assert_eq!(shortest.get(), None);
        shortest.add(ms(9), ms(0));
        shortest.add(ms(20), ms(70_000));
        assert_eq!(shortest.get(), Some(ms(9)));
        shortest.add(ms(30), ms(130_000));
        assert_eq!(shortest.get(), Some(ms(20)), "the window of 9 ms is over");
        shortest.lower(ms(25));
        assert_eq!(shortest.get(), Some(ms(20)));
        shortest.lower(ms(7));
        assert_eq!(shortest.get(), Some(ms(7)));
    }

    #[test]
    fn six_slow_outcomes_in_a_row_are_most() {
        let mut slowness = Slowness::default();
        for at in 1..=5 {
            slowness.add(true, ms(at));
        }
        assert_eq!(slowness.since(), None);
        slowness.add(true, ms(6));
        slowness.add(true, ms(7));
        assert_eq!(slowness.since(), Some(ms(6)));
        slowness.add(false, ms(8));
        assert_eq!(slowness.since(), Some(ms(6)), "one fast outcome changes nothing");
        slowness.add(false, ms(9));
        assert_eq!(slowness.since(), None);
    }
}
