//! Time at which each record of a partition was first seen, without its timestamp.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Maximum number of remembered readings of one partition. Beyond it every second one is forgotten.
const READINGS_MAX: usize = 512;

/// End offsets of one partition over time. A record was first seen at the first reading whose end is after it.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// Ends with their times, both ascending. Only readings at which the partition had grown.
    readings: VecDeque<(i64, Instant)>,
    /// Time of the first reading. A record that was there already may be older.
    since: Option<Instant>,
}

impl Timeline {
    /// Stores the end of the partition. Readings that no group needs, because all have read up to `lowest`, are forgotten.
    pub(super) fn observe(&mut self, lowest: i64, end: i64, now: Instant) {
        if self.readings.back().is_some_and(|(last, _)| end < *last) {
            // The topic was created again: what was known belongs to another log
            *self = Self::default();
        }
        self.since.get_or_insert(now);
        if self.readings.back().is_none_or(|(last, _)| end > *last) {
            self.readings.push_back((end, now));
        }
        // The last one stays, because it tells whether the partition grew
        while self.readings.len() > 1 && self.readings.front().is_some_and(|(end, _)| *end <= lowest) {
            self.readings.pop_front();
        }
        if self.readings.len() > READINGS_MAX {
            // The first and the last stay; a record of another one then counts as seen later, so its age never becomes larger
            let mut index = 0_usize;
            self.readings.retain(|_| {
                index += 1;
                !index.is_multiple_of(2)
            });
        }
    }

    /// Returns the time for which the record at `offset` has been known. `None` when that is unknown: it was there at the first
    /// reading, which is this one.
    pub(super) fn age(&self, offset: i64, now: Instant) -> Option<Duration> {
        let index = self.readings.partition_point(|(end, _)| *end <= offset);
        let (_, seen) = self.readings.get(index)?;
        (self.since != Some(now)).then(|| now.duration_since(*seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_ages_from_first_reading_behind_it() {
        let (mut timeline, began) = (Timeline::default(), Instant::now());
        let mut age = |lowest, end, second, offset| {
            let now = began + Duration::from_secs(second);
            timeline.observe(lowest, end, now);
            timeline.age(offset, now).map(|age| age.as_secs())
        };
        assert_eq!(age(5, 9, 0, 5), None, "unknown is not zero");
        assert_eq!(age(5, 9, 3, 5), Some(3));
        assert_eq!(age(5, 12, 7, 5), Some(7), "more records behind the same one");
        assert_eq!(age(5, 12, 8, 9), Some(1), "a group that moved on to a record of the second 7");
        assert_eq!(age(10, 12, 9, 10), Some(2), "another record of the same reading");
        assert_eq!(age(12, 12, 10, 12), None, "there is no such record");
        assert_eq!(age(12, 13, 99, 12), Some(0), "it was not there before");
        assert_eq!(age(0, 4, 100, 0), None, "the topic was created again");
    }

    #[test]
    fn memory_is_bounded_and_age_never_grows_by_it() {
        let (mut timeline, began) = (Timeline::default(), Instant::now());
        let readings = 5_000_i64;
        for end in 1..=readings {
            timeline.observe(0, end, began + Duration::from_secs(end.unsigned_abs()));
        }
        assert!(timeline.readings.len() <= READINGS_MAX, "{}", timeline.readings.len());
        let now = began + Duration::from_secs(readings.unsigned_abs());
        for offset in [0, 1_000, readings - 1] {
            // The record at an offset came with the reading that ends behind it
            let real = Duration::from_secs((readings - offset - 1).unsigned_abs());
            assert!(timeline.age(offset, now).is_some_and(|age| age <= real), "{offset}");
        }
    }
}
