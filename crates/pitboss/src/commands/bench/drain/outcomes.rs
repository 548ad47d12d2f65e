//! The outcomes of a backlog: when the broker appended each, and how many a second that were.
//!
//! The broker's times are those of one clock for both sides, and say when the work was done, also for a consumer that commits only
//! once a second.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bus::{Chunk, Ranges, TopicReader};
use contracts::Topic;

/// Largest number of records in memory.
const RECORDS_MAX: usize = 1_000;
/// Time in which so many are read.
const READ_DEADLINE: Duration = Duration::from_secs(60);
/// Shares of the outcomes between which the measurement begins, because the start of a consumer does not count.
const BEGINS_AFTER: f64 = 0.05;
const BEGINS_BEFORE: f64 = 0.2;

/// Outcomes of one side.
pub(super) struct Outcomes {
    reader: Arc<TopicReader>,
    topic: Topic,
}

impl Outcomes {
    /// The outcomes on a topic. The client connects in the background.
    pub(super) fn of(kafka: &bus::Config, topic: Topic) -> Result<Self> {
        Ok(Self { reader: TopicReader::new(kafka)?, topic })
    }

    /// What is there now.
    pub(super) async fn present(&self) -> Result<Ranges> {
        Ok(self.reader.extents(self.topic).await?)
    }

    /// Times of the outcomes that were appended after `before`, in milliseconds and in their order.
    pub(super) async fn times_ms_since(&self, before: &Ranges) -> Result<Vec<i64>> {
        let mut left = new_in(before, self.present().await?);
        let mut times_ms = Vec::new();
        while !left.is_empty() {
            let Chunk { records, left: rest } =
                self.reader.read(self.topic, left, RECORDS_MAX, READ_DEADLINE).await?;
            times_ms.extend(records.iter().filter_map(|record| record.timestamp_ms));
            left = rest;
        }
        times_ms.sort_unstable();
        Ok(times_ms)
    }
}

/// What was appended between two readings.
fn new_in(before: &Ranges, mut now: Ranges) -> Ranges {
    for (partition, range) in &mut now {
        range.start = before.get(partition).map_or(range.start, |before| before.end.max(range.start));
    }
    now.retain(|_, range| !range.is_empty());
    now
}

/// Outcomes a second, from their sorted times. `None` if there are too few, or if all have the same time.
///
/// A consumer that works in batches appends the outcomes of a batch at once, so a measurement that begins within a batch would count
/// the rest of it without its time. It begins at the longest pause between two outcomes in the first part of them, which is an end of
/// a batch.
pub(super) fn rate_per_s(times_ms: &[i64]) -> Option<f64> {
    let place = |share: f64| (times_ms.len() as f64 * share) as usize;
    let begins = times_ms.get(place(BEGINS_AFTER)..=place(BEGINS_BEFORE))?;
    let pauses = begins.windows(2).map(|pair| pair[1] - pair[0]).enumerate();
    // The first of several pauses of the same length.
    let (offset, _) = pauses.max_by_key(|(offset, pause)| (*pause, Reverse(*offset)))?;
    let begin = place(BEGINS_AFTER) + offset;
    let took_ms = times_ms.last()? - times_ms.get(begin)?;
    let counted = times_ms.len() - begin - 1;
    (took_ms > 0).then(|| counted as f64 * 1_000.0 / took_ms as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steady_outcomes_have_their_rate() {
        let times_ms: Vec<i64> = (0..1_000).map(|number| 5_000 + number * 4).collect();
        assert_eq!(rate_per_s(&times_ms), Some(250.0));
    }

    #[test]
    fn slow_start_does_not_count() {
        let steady = (0..1_000).map(|number| 60_000 + number * 4);
        let times_ms: Vec<i64> = (0..50).map(|number| number * 1_000).chain(steady).collect();
        let rate_per_s = rate_per_s(&times_ms).unwrap();
        assert!((rate_per_s - 250.0).abs() < 1.0, "{rate_per_s}");
    }

    #[test]
    fn batches_count_from_the_end_of_one() {
        // 500 outcomes at a time, one batch in 100 ms.
        let times_ms: Vec<i64> = (0..5_000).map(|number| number / 500 * 100).collect();
        assert_eq!(rate_per_s(&times_ms), Some(5_000.0));
    }

    #[test]
    fn too_few_outcomes_have_no_rate() {
        for times_ms in [vec![], vec![1], vec![1, 2, 3, 4], vec![7; 1_000]] {
            assert_eq!(rate_per_s(&times_ms), None, "{times_ms:?}");
        }
    }

    #[test]
    fn only_new_outcomes_are_read() {
        let before = Ranges::from([(0, 2..5), (1, 0..3)]);
        let now = Ranges::from([(0, 2..9), (1, 0..3), (2, 0..1)]);
        assert_eq!(new_in(&before, now), Ranges::from([(0, 5..9), (2, 0..1)]));
        let deleted = Ranges::from([(0, 7..9)]);
        assert_eq!(new_in(&before, deleted), Ranges::from([(0, 7..9)]));
    }
}
