//! Records in retry topics wait here until they are due.
//!
//! It guarantees that **no record of a retry topic is handled before it is due**, and that waiting costs no slot and delays no
//! other partition. The partition is paused while its first record waits, and the member keeps its place in the group. A waiting
//! record is not registered, so nothing behind it is committed, and a later owner of the partition reads it again.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use contracts::now_ms;

use super::owner::Owner;
use crate::partitions::TopicPartition;
use crate::record::Record;

/// A record with the time from which it may be handled.
#[derive(Debug)]
struct Waiting {
    record: Record,
    due_at: Instant,
}

/// The waiting records. They are few, because their partition is paused from the first one on.
#[derive(Debug, Default)]
pub(crate) struct Due {
    waiting: BTreeMap<TopicPartition, VecDeque<Waiting>>,
}

impl Due {
    /// Returns true if a record of this partition waits.
    pub(crate) fn contains(&self, partition: &TopicPartition) -> bool {
        self.waiting.contains_key(partition)
    }

    /// Forgets a partition that is no longer ours.
    pub(crate) fn remove(&mut self, partition: &TopicPartition) {
        self.waiting.remove(partition);
    }

    /// Keeps a record that is not due yet, or that arrived behind one. Returns it if it can be handled at once. `wait` is the time
    /// until it is due.
    fn hold(
        &mut self,
        partition: &TopicPartition,
        record: Record,
        wait: Duration,
        now: Instant,
    ) -> Option<Record> {
        if let Some(waiting) = self.waiting.get_mut(partition) {
            // Two consecutive polls may return the same record
            if waiting.back().is_none_or(|last| last.record.offset < record.offset) {
                waiting.push_back(Waiting { record, due_at: now + wait });
            }
            return None;
        }
        if wait.is_zero() {
            return Some(record);
        }
        let first = VecDeque::from([Waiting { record, due_at: now + wait }]);
        self.waiting.insert(partition.clone(), first);
        None
    }

    /// Removes the records that are due, each partition in its order.
    fn take(&mut self, now: Instant) -> Vec<(TopicPartition, Record)> {
        let mut due = Vec::new();
        for (partition, waiting) in &mut self.waiting {
            while waiting.front().is_some_and(|first| first.due_at <= now) {
                due.extend(waiting.pop_front().map(|first| (partition.clone(), first.record)));
            }
        }
        self.waiting.retain(|_, waiting| !waiting.is_empty());
        due
    }
}

impl Owner {
    /// Keeps a record that is not due yet, and pauses its partition. Returns any other record.
    pub(super) fn hold_until_due(&mut self, partition: &TopicPartition, record: Record) -> Option<Record> {
        if !record.is_retry() {
            return Some(record);
        }
        let wait = wait_of(&record, self.config.retry_topic_delay_ms, now_ms());
        let record = self.due.hold(partition, record, wait, Instant::now());
        if record.is_none() {
            self.apply_pause();
        }
        record
    }

    /// Takes the records that are due, and resumes the partitions in which none waits any more.
    pub(super) fn take_due(&mut self) {
        let due = self.due.take(Instant::now());
        if due.is_empty() {
            return;
        }
        for (partition, record) in due {
            self.take(partition, record);
        }
        self.apply_pause();
    }
}

/// Returns the time until a record is due, at most `delay_ms`: a wrong clock or header must not stop the topic.
fn wait_of(record: &Record, delay_ms: u64, now_ms: i64) -> Duration {
    let left_ms = record.due_ms().map_or(0, |due_ms| due_ms.saturating_sub(now_ms));
    Duration::from_millis(u64::try_from(left_ms).unwrap_or(0).min(delay_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn retried(offset: i64, due_ms: &str) -> Record {
        let mut record = crate::record::tests::record();
        "casino.bets.events.v1.retry.analytics".clone_into(&mut record.topic);
        record.offset = offset;
        record.headers = vec![(contracts::headers::DLQ_DUE_MS.to_owned(), due_ms.to_owned().into())];
        record
    }

    #[test]
    fn wait_ends_at_due_time_within_the_delay() {
        let now = 1_764_000_000_000;
        for (due_ms, expected_ms) in [
            ("1764000001500", 1_500),
            ("1764000000000", 0),
            ("1", 0),
            ("99999999999999", 5_000),
            ("soon", 0),
            ("-9223372036854775808", 0),
        ] {
            let wait = wait_of(&retried(0, due_ms), 5_000, now);
            assert_eq!(wait, Duration::from_millis(expected_ms), "{due_ms}");
        }
    }

    #[test]
    fn records_behind_a_waiting_one_keep_their_order() {
        let (mut due, now) = (Due::default(), Instant::now());
        let (waiting, other) = (TopicPartition::new("r", 0), TopicPartition::new("r", 1));
        assert!(due.hold(&other, retried(7, "0"), Duration::ZERO, now).is_some(), "it is due");
        assert!(due.hold(&waiting, retried(1, "0"), SECOND, now).is_none());
        assert!(due.hold(&waiting, retried(2, "0"), Duration::ZERO, now).is_none(), "it is behind the first");
        assert!(due.hold(&waiting, retried(2, "0"), Duration::ZERO, now).is_none(), "read twice");
        assert!(due.contains(&waiting) && !due.contains(&other));
        assert!(due.take(now + SECOND / 2).is_empty());
        let taken: Vec<i64> = due.take(now + SECOND).iter().map(|(_, record)| record.offset).collect();
        assert_eq!(taken, [1, 2]);
        assert!(!due.contains(&waiting));
    }
}
