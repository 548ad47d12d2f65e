//! Consumer lag, read from outside every group, so also for a group without members.
//!
//! Each partition has two numbers, because one alone misleads. One is the count of unread records up to the high watermark, with
//! other producers' open transactions, as in Kafka's own tools. The other is the age of the oldest: the time since its plausible
//! timestamp, or since this reader first saw the group there, whichever is longer. It is never years, never negative, and never 0
//! for "unknown". A timestamp a few seconds ahead counts as new, because clocks differ slightly.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use contracts::{Group, Topic};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::{Message as _, Offset};
use serde::Serialize;
use telemetry::metric::{self, Metric};

use crate::clients::{self, Quiet};
use crate::config::Config;
use crate::consumer::context::{list_of, offsets_of};
use crate::error::ClientError;
use crate::latency;
use crate::names::Names;
use crate::offsets::NextOffset;
use crate::partitions::TopicPartition;

mod backlog;
mod gate;
pub use backlog::{Backlog, BacklogReader};
pub use gate::Gate;

/// Time-out of one request to the broker.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Deadline for reading the oldest unread records of all partitions.
const OLDEST_DEADLINE: Duration = Duration::from_secs(3);

/// Lag of one group on one partition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartitionLag {
    /// Catalogue name of the group.
    pub group: String,
    /// Catalogue name of the topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Number of records that the group has not committed.
    pub lag_messages: i64,
    /// Lower bound for the age of the oldest of them. 0 when there is none. None while it is unknown.
    pub lag_seconds: Option<f64>,
    /// Offset at which the group would continue. None when it never committed here.
    pub committed: Option<i64>,
    /// High watermark of the partition.
    pub end: i64,
    /// Number of current members. 0 means that no consumer runs.
    pub members: usize,
}

/// Reads the lag of groups over persistent connections.
pub struct Reader {
    groups: Vec<Member>,
    partitions: Observer,
    names: Names,
    /// The lock also allows only one read at a time, because the client that reads the oldest records has one assignment.
    memory: Mutex<Memory>,
}

type Observer = Arc<BaseConsumer<Quiet>>;
type Ends = BTreeMap<TopicPartition, (i64, i64)>;

/// A group whose lag is read.
struct Member {
    group: Group,
    topics: Vec<Topic>,
    observer: Observer,
    counts_members: bool,
}

/// State that is kept between reads.
#[derive(Default)]
struct Memory {
    counts: BTreeMap<Topic, i32>,
    /// Offset of each group in each partition, and the time at which it was first seen there.
    first_seen: BTreeMap<(Group, TopicPartition), (i64, Instant)>,
}

/// Position of one group in one partition.
struct GroupPosition {
    group: Group,
    partition: TopicPartition,
    committed: Option<i64>,
    first_unread: i64,
    end: i64,
    members: usize,
    /// Age of the oldest unread record by its timestamp, where that is plausible.
    age_ms: Option<i64>,
    /// Time for which the group has been seen at this offset.
    seen_for: Duration,
}

impl GroupPosition {
    fn unread(&self) -> i64 {
        (self.end - self.first_unread).max(0)
    }

    fn lag(&self) -> PartitionLag {
        let by_record = self.age_ms.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
        let seen = (!self.seen_for.is_zero()).then_some(self.seen_for);
        PartitionLag {
            group: self.group.as_str().to_owned(),
            topic: self.partition.topic.to_string(),
            partition: self.partition.partition,
            lag_messages: self.unread(),
            lag_seconds: match self.unread() {
                0 => Some(0.0),
                _ => by_record.max(seen).map(|age| age.as_secs_f64()),
            },
            committed: self.committed,
            end: self.end,
            members: self.members,
        }
    }
}

/// Reads the lag of `groups` once.
pub async fn read(config: &Config, groups: &[Group]) -> Result<Vec<PartitionLag>, ClientError> {
    let reader = Arc::new(Reader::new(config, groups)?);
    reader.read().await
}

impl Reader {
    /// Creates a reader for these groups, without those that keep no offsets on the broker.
    pub fn new(config: &Config, groups: &[Group]) -> Result<Self, ClientError> {
        let groups =
            groups.iter().filter(|group| group.commits()).map(|group| (*group, group.reads().to_vec()));
        Self::over(config, groups, true)
    }

    fn over(
        config: &Config,
        groups: impl Iterator<Item = (Group, Vec<Topic>)>,
        counts_members: bool,
    ) -> Result<Self, ClientError> {
        let problems = config.problems();
        if !problems.is_empty() {
            return Err(ClientError::Config(problems));
        }
        let names = config.names();
        let observer = |group: &str| -> Result<Observer, ClientError> {
            let client = clients::observer(config, group)
                .create_with_context(Quiet)
                .map_err(ClientError::kafka("creating a client that reads lag"))?;
            Ok(Arc::new(client))
        };
        let mut members = Vec::new();
        for (group, topics) in groups {
            let observer = observer(&names.physical(group.as_str()))?;
            members.push(Member { group, topics, observer, counts_members });
        }
        let partitions = observer(&clients::outsider_group(config))?;
        Ok(Self { groups: members, partitions, names, memory: Mutex::default() })
    }

    /// Reads the present lag.
    pub async fn read(self: &Arc<Self>) -> Result<Vec<PartitionLag>, ClientError> {
        Ok(self.positions().await?.iter().map(GroupPosition::lag).collect())
    }

    async fn positions(self: &Arc<Self>) -> Result<Vec<GroupPosition>, ClientError> {
        let reader = Arc::clone(self);
        let read = telemetry::spawn_blocking(move || reader.read_blocking());
        read.await.unwrap_or(Err(ClientError::Cancelled { doing: "reading lag" }))
    }

    fn read_blocking(&self) -> Result<Vec<GroupPosition>, ClientError> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        // Committed offsets are read before the ends. In the other order, a busy group would seem to be ahead.
        let mut positions = Vec::new();
        for member in &self.groups {
            positions.extend(self.committed(member, &mut memory)?);
        }
        let ends = self.ends(&positions)?;
        for position in &mut positions {
            let (low, end) = ends.get(&position.partition).copied().unwrap_or_default();
            position.end = end;
            position.first_unread = position.committed.unwrap_or(low).max(low);
        }
        memory.observe(&mut positions, Instant::now());
        self.ages(&mut positions)?;
        Ok(positions)
    }

    fn committed(&self, member: &Member, memory: &mut Memory) -> Result<Vec<GroupPosition>, ClientError> {
        let Member { group, observer, .. } = member;
        let members = match member.counts_members {
            true => members(observer, &self.names.physical(group.as_str()))?,
            false => 0,
        };
        let mut partitions = Vec::new();
        for topic in &member.topics {
            let count = match memory.counts.get(topic) {
                Some(count) => *count,
                None => partition_count(observer, &self.names.physical(topic.name()))?,
            };
            if count > 0 {
                memory.counts.insert(*topic, count);
            }
            partitions.extend((0..count).map(|partition| TopicPartition::new(topic.name(), partition)));
        }
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let stored = observer
            .committed_offsets(list_of(&partitions, &self.names), REQUEST_TIMEOUT)
            .map_err(ClientError::kafka("reading committed offsets"))?;
        let position = |partition: TopicPartition| GroupPosition {
            group: *group,
            committed: offset_in(&stored, &partition, &self.names),
            partition,
            first_unread: 0,
            end: 0,
            members,
            age_ms: None,
            seen_for: Duration::ZERO,
        };
        Ok(partitions.into_iter().map(position).collect())
    }

    /// Reads the first and the end offset of each partition, with two requests to each broker.
    fn ends(&self, positions: &[GroupPosition]) -> Result<Ends, ClientError> {
        const DOING: &str = "reading the end offsets of partitions";
        let mut partitions: Vec<&TopicPartition> =
            positions.iter().map(|position| &position.partition).collect();
        partitions.sort();
        partitions.dedup();
        if partitions.is_empty() {
            return Ok(Ends::new());
        }
        let request = |which: Offset| {
            let mut list = list_of(partitions.iter().copied(), &self.names);
            list.set_all_offsets(which)?;
            self.partitions.offsets_for_times(list, REQUEST_TIMEOUT)
        };
        let lows = request(Offset::Beginning).map_err(ClientError::kafka(DOING))?;
        let ends = request(Offset::End).map_err(ClientError::kafka(DOING))?;
        let mut found = Ends::new();
        for partition in partitions {
            for list in [&lows, &ends] {
                let element =
                    list.find_partition(&self.names.physical(&partition.topic), partition.partition);
                if let Some(Err(error)) = element.map(|element| element.error()) {
                    return Err(ClientError::Kafka { doing: DOING, source: error });
                }
            }
            let low = offset_in(&lows, partition, &self.names).unwrap_or(0);
            let end = offset_in(&ends, partition, &self.names).unwrap_or(low);
            found.insert(partition.clone(), (low, end));
        }
        Ok(found)
    }

    /// Reads the oldest unread record of every partition that has one. Groups at the same offset share the read.
    fn ages(&self, positions: &mut [GroupPosition]) -> Result<(), ClientError> {
        let mut rounds: Vec<BTreeMap<TopicPartition, i64>> = Vec::new();
        for position in positions.iter().filter(|position| position.unread() > 0) {
            let start = position.first_unread;
            // a partition can be read at only one offset at a time, so another offset waits for the next round
            let round = rounds
                .iter_mut()
                .find(|round| round.get(&position.partition).is_none_or(|known| *known == start));
            match round {
                Some(round) => drop(round.insert(position.partition.clone(), start)),
                None => rounds.push(BTreeMap::from([(position.partition.clone(), start)])),
            }
        }
        let mut oldest: BTreeMap<(TopicPartition, i64), Option<i64>> = BTreeMap::new();
        let until = Instant::now() + OLDEST_DEADLINE;
        for round in rounds {
            self.read_round(round, until, &mut oldest)?;
        }
        let now_ms = now_ms();
        for position in positions.iter_mut().filter(|position| position.unread() > 0) {
            let key = (position.partition.clone(), position.first_unread);
            // a record that was not read in time proves nothing about clocks
            let Some(timestamp_ms) = oldest.get(&key) else { continue };
            let age = latency::age(*timestamp_ms, now_ms, &position.partition.topic);
            position.age_ms = age.ms;
            if age.is_skewed {
                metric::count(Metric::BusRecordsSkewed, 1, &[("topic", &position.partition.topic)]);
            }
        }
        Ok(())
    }

    fn read_round(
        &self,
        round: BTreeMap<TopicPartition, i64>,
        until: Instant,
        oldest: &mut BTreeMap<(TopicPartition, i64), Option<i64>>,
    ) -> Result<(), ClientError> {
        const DOING: &str = "reading the oldest unread records";
        let positions = round.iter().map(|(partition, start)| (partition, NextOffset(*start)));
        let list = offsets_of(positions, &self.names).map_err(ClientError::kafka(DOING))?;
        self.partitions.assign(&list).map_err(ClientError::kafka(DOING))?;
        let mut waiting = round;
        while !waiting.is_empty() && Instant::now() < until {
            let Some(Ok(message)) = self.partitions.poll(Duration::from_millis(100)) else { continue };
            let partition = TopicPartition::new(self.names.logical(message.topic()), message.partition());
            if let Some(start) = waiting.remove(&partition) {
                oldest.insert((partition, start), message.timestamp().to_millis());
            }
        }
        self.partitions.unassign().map_err(ClientError::kafka(DOING))
    }
}

impl Memory {
    /// Stores the groups' positions, and sets the time for which each was seen there.
    fn observe(&mut self, positions: &mut [GroupPosition], now: Instant) {
        for position in positions {
            let key = (position.group, position.partition.clone());
            if position.unread() == 0 {
                self.first_seen.remove(&key);
                continue;
            }
            let seen = self.first_seen.entry(key).or_insert((position.first_unread, now));
            if seen.0 != position.first_unread {
                *seen = (position.first_unread, now);
            }
            position.seen_for = now.duration_since(seen.1);
        }
    }
}

fn members(observer: &Observer, physical: &str) -> Result<usize, ClientError> {
    let list = observer
        .fetch_group_list(Some(physical), REQUEST_TIMEOUT)
        .map_err(ClientError::kafka("reading a group's members"))?;
    Ok(list.groups().iter().find(|group| group.name() == physical).map_or(0, |group| group.members().len()))
}

fn partition_count(observer: &Observer, physical: &str) -> Result<i32, ClientError> {
    let metadata = observer
        .fetch_metadata(Some(physical), REQUEST_TIMEOUT)
        .map_err(ClientError::kafka("reading a topic's partitions"))?;
    let count = metadata.topics().iter().find(|topic| topic.name() == physical);
    Ok(count.map_or(0, |topic| i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX)))
}

fn offset_in(stored: &TopicPartitionList, partition: &TopicPartition, names: &Names) -> Option<i64> {
    let found = stored.find_partition(&names.physical(&partition.topic), partition.partition)?;
    match found.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    }
}

pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(first_unread: i64, end: i64) -> GroupPosition {
        GroupPosition {
            group: Group::Game,
            partition: TopicPartition::new("t", 0),
            committed: None,
            first_unread,
            end,
            members: 0,
            age_ms: None,
            seen_for: Duration::ZERO,
        }
    }

    #[test]
    fn age_without_a_timestamp_is_the_time_at_the_same_offset() {
        let (mut memory, began) = (Memory::default(), Instant::now());
        let mut lag_seconds = |first_unread, end, seconds, age_ms| {
            let mut positions = [GroupPosition { age_ms, ..position(first_unread, end) }];
            memory.observe(&mut positions, began + Duration::from_secs(seconds));
            positions[0].lag().lag_seconds
        };
        assert_eq!(lag_seconds(5, 9, 0, None), None, "unknown is not zero");
        assert_eq!(lag_seconds(5, 9, 3, None), Some(3.0));
        assert_eq!(lag_seconds(5, 12, 7, None), Some(7.0), "more records behind the same one");
        assert_eq!(
            lag_seconds(5, 12, 8, Some(60_000)),
            Some(60.0),
            "the record is older than the observation"
        );
        assert_eq!(lag_seconds(5, 12, 9, Some(20)), Some(9.0), "it cannot be younger than it was seen");
        assert_eq!(lag_seconds(6, 12, 10, None), None, "the group moved on");
        assert_eq!(lag_seconds(12, 12, 11, None), Some(0.0));
        assert_eq!(lag_seconds(12, 13, 99, None), None, "earlier offsets do not count");
    }
}
