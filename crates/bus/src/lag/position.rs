//! Position of one group in one partition, from which its lag follows.

use std::time::Duration;

use contracts::Group;

use super::PartitionLag;
use crate::partitions::TopicPartition;

/// Position of one group in one partition.
#[derive(Clone, Debug)]
pub(super) struct GroupPosition {
    pub(super) group: Group,
    pub(super) partition: TopicPartition,
    pub(super) committed: Option<i64>,
    pub(super) first_unread: i64,
    /// High watermark.
    pub(super) end: i64,
    /// Last stable offset: the first record of the oldest open transaction, or the high watermark.
    pub(super) stable_end: i64,
    /// Offsets between the first unread one and the stable end that hold no record for a reader.
    pub(super) without_record: i64,
    pub(super) members: usize,
    /// Age of the oldest unread record by its timestamp, where that is plausible.
    pub(super) age_ms: Option<i64>,
    /// That timestamp is the broker's, not its producer's claim.
    pub(super) is_broker_time: bool,
    /// Time since this reader first saw the oldest unread record.
    pub(super) seen_for: Option<Duration>,
}

impl GroupPosition {
    pub(super) fn new(
        group: Group,
        partition: TopicPartition,
        committed: Option<i64>,
        members: usize,
    ) -> Self {
        Self {
            group,
            partition,
            committed,
            first_unread: 0,
            end: 0,
            stable_end: 0,
            without_record: 0,
            members,
            age_ms: None,
            is_broker_time: false,
            seen_for: None,
        }
    }

    /// Sets where the group continues: at its committed offset, or at the oldest record if there is no such offset any more. That is
    /// what `auto.offset.reset` makes of an offset that is out of range.
    pub(super) fn set_first_unread(&mut self, low: i64) {
        let committed = self.committed.filter(|_| !self.is_beyond_end());
        self.first_unread = committed.unwrap_or(low).max(low);
    }

    /// Returns true if the committed offset is beyond the end of the partition.
    pub(super) fn is_beyond_end(&self) -> bool {
        self.committed.is_some_and(|committed| committed > self.end)
    }

    /// Number of unread records.
    pub(super) fn unread(&self) -> i64 {
        (self.end - self.first_unread - self.without_record).max(0)
    }

    /// Number of these that open transactions hold back.
    pub(super) fn held(&self) -> i64 {
        (self.end - self.stable_end.max(self.first_unread)).max(0)
    }

    pub(super) fn lag(&self) -> PartitionLag {
        let by_broker = self.age_ms.filter(|_| self.is_broker_time);
        let by_broker = by_broker.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
        PartitionLag {
            group: self.group.as_str().to_owned(),
            topic: self.partition.topic.to_string(),
            partition: self.partition.partition,
            lag_messages: self.unread(),
            held_messages: self.held(),
            lag_seconds: match self.unread() {
                0 => Some(0.0),
                _ => by_broker.max(self.seen_for).map(|age| age.as_secs_f64()),
            },
            committed: self.committed,
            end: self.end,
            stable_end: self.stable_end,
            members: self.members,
            is_beyond_end: self.is_beyond_end(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(first_unread: i64, stable_end: i64, end: i64) -> GroupPosition {
        let partition = TopicPartition::new("t", 0);
        GroupPosition { first_unread, stable_end, end, ..GroupPosition::new(Group::Game, partition, None, 0) }
    }

    #[test]
    fn held_records_are_a_named_part_of_lag() {
        for (first_unread, stable_end, end, without_record, unread, held) in [
            (5, 9, 9, 0, 4, 0),
            (5, 9, 9, 4, 0, 0),
            (5, 9, 12, 1, 6, 3),
            (9, 9, 12, 0, 3, 3),
            (10, 9, 12, 0, 2, 2),
            (14, 9, 12, 0, 0, 0),
        ] {
            let position = GroupPosition { without_record, ..position(first_unread, stable_end, end) };
            assert_eq!((position.unread(), position.held()), (unread, held), "{position:?}");
        }
    }

    #[test]
    fn offset_beyond_the_end_makes_all_records_unread() {
        for (committed, low, first_unread, is_beyond_end) in [
            (None, 3, 3, false),
            (Some(1), 3, 3, false),
            (Some(5), 3, 5, false),
            (Some(9), 3, 9, false),
            (Some(10), 3, 3, true),
        ] {
            let mut position = GroupPosition { committed, ..position(0, 9, 9) };
            position.set_first_unread(low);
            let lag = position.lag();
            assert_eq!((position.first_unread, lag.is_beyond_end), (first_unread, is_beyond_end), "{lag:?}");
            assert_eq!(lag.lag_messages, 9 - first_unread, "{lag:?}");
        }
    }

    #[test]
    fn producers_time_makes_no_age() {
        let second = Duration::from_secs(1);
        for (age_ms, is_broker_time, seen_for, expected) in [
            (None, false, None, None),
            (None, false, Some(second), Some(1.0)),
            (Some(60_000), false, Some(second), Some(1.0)),
            (Some(60_000), false, None, None),
            (Some(60_000), true, Some(second), Some(60.0)),
            (Some(20), true, Some(second), Some(1.0)),
            (Some(20), true, None, Some(0.02)),
        ] {
            let position = GroupPosition { age_ms, is_broker_time, seen_for, ..position(5, 9, 9) };
            assert_eq!(position.lag().lag_seconds, expected, "{position:?}");
        }
        let nothing_unread =
            GroupPosition { age_ms: Some(60_000), is_broker_time: true, ..position(9, 9, 9) };
        assert_eq!(nothing_unread.lag().lag_seconds, Some(0.0));
    }
}
