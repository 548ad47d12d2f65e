//! Lag, read from outside every group: also of a group that is dead and reports nothing.
//!
//! Two numbers for each partition, because each lies alone: how many records are unread, and how old the oldest of them
//! is. An empty topic of a dead group has no lag; a busy one of a live group may have many messages and no age.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use contracts::Group;
use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::TopicPartitionList;
use serde::Serialize;

use crate::clients::{self, Logged};
use crate::config::Config;
use crate::consumer::context::{list_of, offsets_of};
use crate::error::ClientError;
use crate::ledger::{NextOffset, TopicPartition};
use crate::names::Names;

/// How long one question to the broker may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long reading the oldest unread records may take, all partitions together.
const OLDEST_DEADLINE: Duration = Duration::from_secs(3);

/// One group's distance from the end of one partition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartitionLag {
    /// The catalogue's name of the group.
    pub group: String,
    /// The catalogue's name of the topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Records that the group has not committed.
    pub lag_messages: i64,
    /// The age of the oldest of them; 0 when there is none. None when it could not be read in time.
    pub lag_seconds: Option<f64>,
    /// Where the group would continue; none when it never committed here.
    pub committed: Option<i64>,
    /// The end of the partition.
    pub end: i64,
    /// Members of the group now; 0 is a dead group.
    pub members: usize,
}

/// Reads the lag of groups, keeping its connections.
pub struct Reader {
    groups: Vec<(Group, Observer)>,
    oldest: Observer,
    names: Names,
}

type Observer = Arc<BaseConsumer<Logged>>;
type Ends = BTreeMap<TopicPartition, (i64, i64)>;

/// The lag of `groups`, once.
pub async fn read(config: &Config, groups: &[Group]) -> Result<Vec<PartitionLag>, ClientError> {
    let reader = Arc::new(Reader::new(config, groups)?);
    reader.read().await
}

impl Reader {
    /// A reader for these groups; those that keep no offsets on the broker are left out.
    pub fn new(config: &Config, groups: &[Group]) -> Result<Self, ClientError> {
        let problems = config.problems();
        if !problems.is_empty() {
            return Err(ClientError::Config(problems));
        }
        let names = config.names();
        let observer = |settings: rdkafka::ClientConfig| -> Result<Observer, ClientError> {
            let client = settings
                .create_with_context(Logged)
                .map_err(ClientError::kafka("creating a client that reads lag"))?;
            Ok(Arc::new(client))
        };
        let mut observers = Vec::new();
        for group in groups.iter().filter(|group| group.commits()) {
            let settings = clients::observer(config, &names.physical(group.as_str()));
            observers.push((*group, observer(settings)?));
        }
        Ok(Self { groups: observers, oldest: observer(clients::outsider(config))?, names })
    }

    /// The lag now.
    pub async fn read(self: &Arc<Self>) -> Result<Vec<PartitionLag>, ClientError> {
        let reader = Arc::clone(self);
        let read = telemetry::spawn_blocking(move || reader.read_blocking());
        read.await.unwrap_or(Err(ClientError::Cancelled { doing: "reading lag" }))
    }

    fn read_blocking(&self) -> Result<Vec<PartitionLag>, ClientError> {
        // Committed first, ends second: the other way round a busy group would seem to be ahead.
        let mut lags = Vec::new();
        for (group, observer) in &self.groups {
            lags.extend(self.committed(*group, observer)?);
        }
        let ends = self.ends(&lags)?;
        for lag in &mut lags {
            let partition = TopicPartition::new(lag.topic.as_str(), lag.partition);
            let (low, end) = ends.get(&partition).copied().unwrap_or_default();
            lag.end = end;
            lag.lag_messages = (end - lag.committed.unwrap_or(low).max(low)).max(0);
            lag.lag_seconds = (lag.lag_messages == 0).then_some(0.0);
        }
        self.ages(&mut lags, &ends)?;
        Ok(lags)
    }

    fn committed(&self, group: Group, observer: &Observer) -> Result<Vec<PartitionLag>, ClientError> {
        let members = members(observer, &self.names.physical(group.as_str()))?;
        let mut partitions = Vec::new();
        for topic in group.reads() {
            let physical = self.names.physical(topic.name());
            let count = partition_count(observer, &physical)?;
            partitions.extend((0..count).map(|partition| TopicPartition::new(topic.name(), partition)));
        }
        let stored = observer
            .committed_offsets(list_of(&partitions, &self.names), ASK_TIMEOUT)
            .map_err(ClientError::kafka("asking for committed offsets"))?;
        let lag = |partition: &TopicPartition| PartitionLag {
            group: group.as_str().to_owned(),
            topic: partition.topic.to_string(),
            partition: partition.partition,
            lag_messages: 0,
            lag_seconds: None,
            committed: offset_in(&stored, partition, &self.names),
            end: 0,
            members,
        };
        Ok(partitions.iter().map(lag).collect())
    }

    fn ends(&self, lags: &[PartitionLag]) -> Result<Ends, ClientError> {
        let mut ends = Ends::new();
        for lag in lags {
            let partition = TopicPartition::new(lag.topic.as_str(), lag.partition);
            if let Entry::Vacant(unknown) = ends.entry(partition) {
                let physical = self.names.physical(&lag.topic);
                let range = self
                    .oldest
                    .fetch_watermarks(&physical, lag.partition, ASK_TIMEOUT)
                    .map_err(ClientError::kafka("asking for the ends of a partition"))?;
                unknown.insert(range);
            }
        }
        Ok(ends)
    }

    /// Reads the oldest unread record of every partition that has one. Groups that stand at the same offset share it.
    fn ages(&self, lags: &mut [PartitionLag], ends: &Ends) -> Result<(), ClientError> {
        let mut wanted: Vec<BTreeMap<TopicPartition, i64>> = Vec::new();
        for lag in lags.iter().filter(|lag| lag.lag_messages > 0) {
            let partition = TopicPartition::new(lag.topic.as_str(), lag.partition);
            let start = first_unread(lag, ends);
            // one partition can only be read from one place at a time: another place waits for the next round
            let round =
                wanted.iter_mut().find(|round| round.get(&partition).is_none_or(|known| *known == start));
            match round {
                Some(round) => drop(round.insert(partition, start)),
                None => wanted.push(BTreeMap::from([(partition, start)])),
            }
        }
        let mut oldest: BTreeMap<(TopicPartition, i64), i64> = BTreeMap::new();
        for round in wanted {
            self.read_round(round, &mut oldest)?;
        }
        let now_ms = now_ms();
        for lag in lags.iter_mut().filter(|lag| lag.lag_messages > 0) {
            let position = (TopicPartition::new(lag.topic.as_str(), lag.partition), first_unread(lag, ends));
            lag.lag_seconds =
                oldest.get(&position).map(|timestamp_ms| seconds_between(*timestamp_ms, now_ms));
        }
        Ok(())
    }

    fn read_round(
        &self,
        round: BTreeMap<TopicPartition, i64>,
        oldest: &mut BTreeMap<(TopicPartition, i64), i64>,
    ) -> Result<(), ClientError> {
        const DOING: &str = "reading the oldest unread records";
        let positions = round.iter().map(|(partition, start)| (partition, NextOffset(*start)));
        let list = offsets_of(positions, &self.names).map_err(ClientError::kafka(DOING))?;
        self.oldest.assign(&list).map_err(ClientError::kafka(DOING))?;
        let began = Instant::now();
        let mut waiting = round;
        while !waiting.is_empty() && began.elapsed() < OLDEST_DEADLINE {
            let Some(Ok(message)) = self.oldest.poll(Duration::from_millis(100)) else { continue };
            let partition = TopicPartition::new(self.names.logical(message.topic()), message.partition());
            if let Some(start) = waiting.remove(&partition) {
                oldest.insert((partition, start), message.timestamp().to_millis().unwrap_or_default());
            }
        }
        self.oldest.unassign().map_err(ClientError::kafka(DOING))
    }
}

/// Where the group would continue: its offset, unless that was deleted meanwhile.
fn first_unread(lag: &PartitionLag, ends: &Ends) -> i64 {
    let partition = TopicPartition::new(lag.topic.as_str(), lag.partition);
    let low = ends.get(&partition).map_or(0, |(low, _)| *low);
    lag.committed.unwrap_or(low).max(low)
}

fn members(observer: &Observer, physical: &str) -> Result<usize, ClientError> {
    let list = observer
        .fetch_group_list(Some(physical), ASK_TIMEOUT)
        .map_err(ClientError::kafka("asking for a group's members"))?;
    Ok(list.groups().iter().find(|group| group.name() == physical).map_or(0, |group| group.members().len()))
}

fn partition_count(observer: &Observer, physical: &str) -> Result<i32, ClientError> {
    let metadata = observer
        .fetch_metadata(Some(physical), ASK_TIMEOUT)
        .map_err(ClientError::kafka("asking for a topic's partitions"))?;
    let count = metadata.topics().iter().find(|topic| topic.name() == physical);
    Ok(count.map_or(0, |topic| i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX)))
}

fn offset_in(stored: &TopicPartitionList, partition: &TopicPartition, names: &Names) -> Option<i64> {
    let found = stored.find_partition(&names.physical(&partition.topic), partition.partition)?;
    match found.offset() {
        rdkafka::Offset::Offset(offset) => Some(offset),
        _ => None,
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn seconds_between(earlier_ms: i64, later_ms: i64) -> f64 {
    let elapsed = u64::try_from(later_ms - earlier_ms).unwrap_or(0);
    Duration::from_millis(elapsed).as_secs_f64()
}
