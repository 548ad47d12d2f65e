//! What the admission of bets measures: rates, the time of the quickest outcomes, and whether most outcomes are slow.

use std::time::Duration;

/// Length of a bucket of [`Rate`].
const BUCKET: Duration = Duration::from_millis(100);
/// Buckets of a second.
pub(super) const SECOND: u32 = 10;
/// Buckets of half a second.
pub(super) const HALF_SECOND: u32 = 5;
/// Buckets of a [`Rate`]: those of a second, and the newest, which is not complete.
const BUCKETS: usize = 11;
/// Window of [`Quickest`].
const WINDOW: Duration = Duration::from_secs(60);
/// Smallest number of times in a complete window. Two of them may be too short by chance.
const TIMES_MIN: u32 = 20;
/// The quickest outcomes are one in so many.
const TENTH: u32 = 10;
/// Buckets of [`Times`] in each power of two, and the power of two that this is.
const PARTS: usize = 8;
const PARTS_POWER: u32 = 3;
/// Longest time that [`Times`] tells from longer ones, in microseconds. It is 67 s, and no outcome is expected for as long.
const TIME_US_MAX: u64 = (1 << 26) - 1;
/// Buckets of [`Times`]: eight for each power of two from the third on.
const TIME_BUCKETS: usize = 23 * PARTS;
/// Weight of the newest outcome in [`Slowness`]. After six slow outcomes in a row, most of the latest were slow.
const WEIGHT: f64 = 1.0 / 8.0;
/// Time without an outcome after which the earlier ones say nothing about the next. No rate is known then either.
const FORGOTTEN: Duration = Duration::from_secs(1);

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

/// Time within which the quickest tenth of the outcomes came: the shorter one of this window and the one before.
///
/// A window lasts a minute and has at least [`TIMES_MIN`] times. An answer that game gives at once, because it decided the bet long
/// ago, is among the quickest, so the shortest time alone would be that of such answers.
#[derive(Debug, Default)]
pub(super) struct Quickest {
    since: Duration,
    times: Times,
    before: Option<Duration>,
    value: Option<Duration>,
}

impl Quickest {
    /// Adds a time. With `may_rise` a complete window replaces the one before. Without it, it can only lower the value.
    pub(super) fn add(&mut self, took: Duration, may_rise: bool, now: Duration) {
        if now.saturating_sub(self.since) >= WINDOW && self.times.count >= TIMES_MIN {
            if may_rise {
                self.value = Some(self.times.tenth());
            }
            self.begin(now);
        }
        self.times.add(took);
        let tenth = self.times.tenth();
        match self.before {
            None => self.value = Some(tenth),
            Some(before) if self.times.count >= TIMES_MIN => self.value = Some(tenth.min(before)),
            Some(_) => {}
        }
    }

    /// Begins a window. The value so far is that of the one before.
    pub(super) fn begin(&mut self, now: Duration) {
        *self = Self { since: now, times: Times::default(), before: self.value, value: self.value };
    }

    /// The time, rounded down by at most a ninth.
    pub(super) fn get(&self) -> Option<Duration> {
        self.value
    }
}

/// Times in buckets, and the bucket of the longest time of their quickest tenth. It moves by a few buckets with each time, so a time
/// costs a few nanoseconds.
#[derive(Debug)]
struct Times {
    counts: [u32; TIME_BUCKETS],
    count: u32,
    bucket: usize,
    /// Number of times in shorter buckets.
    shorter: u32,
}

impl Default for Times {
    fn default() -> Self {
        Self { counts: [0; TIME_BUCKETS], count: 0, bucket: 0, shorter: 0 }
    }
}

impl Times {
    fn add(&mut self, took: Duration) {
        let bucket = time_bucket(took);
        self.counts[bucket] += 1;
        self.count += 1;
        if bucket < self.bucket {
            self.shorter += 1;
        }
        let rank = self.count.div_ceil(TENTH);
        while self.shorter >= rank {
            self.bucket -= 1;
            self.shorter -= self.counts[self.bucket];
        }
        while self.shorter + self.counts[self.bucket] < rank {
            self.shorter += self.counts[self.bucket];
            self.bucket += 1;
        }
    }

    /// Longest time of the quickest tenth.
    fn tenth(&self) -> Duration {
        start_of(self.bucket)
    }
}

/// Number of the bucket of a time. The first one is that of 8 us and of shorter times.
fn time_bucket(took: Duration) -> usize {
    let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).clamp(PARTS as u64, TIME_US_MAX);
    let power = us.ilog2() - PARTS_POWER;
    // From eight to fifteen parts of a power of two.
    power as usize * PARTS + (us >> power) as usize - PARTS
}

/// Shortest time of a bucket.
fn start_of(bucket: usize) -> Duration {
    Duration::from_micros(((PARTS + bucket % PARTS) as u64) << (bucket / PARTS))
}

/// Whether most of the latest outcomes were slow. One fast or slow outcome among others changes nothing.
#[derive(Debug, Default)]
pub(super) struct Slowness {
    share: f64,
    since: Option<Duration>,
    last: Duration,
}

impl Slowness {
    pub(super) fn add(&mut self, is_slow: bool, now: Duration) {
        if now.saturating_sub(self.last) > FORGOTTEN {
            *self = Self::default();
        }
        self.last = now;
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

/// The time that [`Quickest`] has for this one.
#[cfg(test)]
pub(super) fn rounded(took: Duration) -> Duration {
    start_of(time_bucket(took))
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

    /// Adds as many times as a window needs.
    fn add_window(quickest: &mut Quickest, took: Duration, may_rise: bool, now: Duration) {
        for _ in 0..TIMES_MIN {
            quickest.add(took, may_rise, now);
        }
    }

    #[test]
    fn quickest_time_is_that_of_two_windows() {
        let mut quickest = Quickest::default();
        assert_eq!(quickest.get(), None);
        add_window(&mut quickest, ms(9), true, ms(0));
        add_window(&mut quickest, ms(20), true, ms(70_000));
        assert_eq!(quickest.get(), Some(rounded(ms(9))));
        add_window(&mut quickest, ms(30), true, ms(130_000));
        assert_eq!(quickest.get(), Some(rounded(ms(20))), "the window of 9 ms is over");
        add_window(&mut quickest, ms(7), true, ms(130_000));
        assert_eq!(quickest.get(), Some(rounded(ms(7))));
    }

    #[test]
    fn times_of_an_overload_only_lower_it() {
        let mut quickest = Quickest::default();
        add_window(&mut quickest, ms(9), true, ms(0));
        quickest.begin(ms(1_000));
        for window in 1..5 {
            add_window(&mut quickest, ms(300), false, ms(window * 61_000));
        }
        assert_eq!(quickest.get(), Some(rounded(ms(9))));
        add_window(&mut quickest, ms(5), false, ms(400_000));
        assert_eq!(quickest.get(), Some(rounded(ms(5))));
    }

    #[test]
    fn few_short_times_change_nothing() {
        let mut quickest = Quickest::default();
        quickest.add(ms(1), true, ms(0));
        for number in 1..400_u64 {
            let took = if number.is_multiple_of(20) { ms(1) } else { ms(25) };
            quickest.add(took, true, ms(number * 500));
        }
        assert_eq!(quickest.get(), Some(rounded(ms(25))));
    }

    #[test]
    fn quiet_window_waits_for_more_times() {
        let mut quickest = Quickest::default();
        add_window(&mut quickest, ms(20), true, ms(0));
        quickest.add(ms(1), true, ms(61_000));
        assert_eq!(quickest.get(), Some(rounded(ms(20))));
        quickest.add(ms(25), true, ms(200_000));
        assert_eq!(quickest.get(), Some(rounded(ms(20))), "a window of one time counts for nothing");
    }

    /// Compares with the sorted times.
    #[test]
    fn tenth_is_that_of_the_sorted_times() {
        let (mut times, mut sorted, mut us) = (Times::default(), Vec::new(), 1_u64);
        for _ in 0..2_000 {
            us = us * 48_271 % 2_147_483_647;
            let took = Duration::from_micros(us % (1_u64 << (us % 28)));
            times.add(took);
            sorted.push(rounded(took));
            sorted.sort();
            assert_eq!(times.tenth(), sorted[sorted.len().div_ceil(10) - 1], "{} times", sorted.len());
        }
    }

    #[test]
    fn time_is_rounded_down_by_at_most_a_ninth() {
        for us in (8..200_000).chain([TIME_US_MAX - 1, TIME_US_MAX]) {
            let (took, rounded) = (Duration::from_micros(us), rounded(Duration::from_micros(us)));
            assert!(rounded <= took && rounded * 9 > took * 8, "{rounded:?} of {took:?}");
        }
        assert_eq!(rounded(Duration::ZERO), Duration::from_micros(8));
        assert_eq!(time_bucket(Duration::MAX), TIME_BUCKETS - 1);
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

    #[test]
    fn slow_outcomes_before_a_pause_are_forgotten() {
        let mut slowness = Slowness::default();
        for at in (0..=10_000).step_by(1_000) {
            slowness.add(true, ms(at));
        }
        assert_eq!(slowness.since(), Some(ms(5_000)), "a second is no pause");
        slowness.add(true, ms(11_001));
        assert_eq!(slowness.since(), None);
    }
}
