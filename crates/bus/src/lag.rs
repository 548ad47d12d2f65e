//! Consumer lag, read from outside every group, so also for a group without members.
//!
//! Each partition has several numbers, because one alone misleads. One is the count of unread records up to the high watermark.
//! Those that another producer's open transaction holds back are told apart. Ends of transactions and aborted records do not count,
//! because no reader gets them. Another is the age of the oldest unread record: the time since the broker appended it, or since
//! this reader first saw it, whichever is longer. A producer's timestamp is a claim and makes no age. The age is never years, never
//! negative, and never 0 for "unknown".

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use contracts::{Group, Topic};
use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use serde::{Deserialize, Serialize};

use crate::clients::{self, Quiet};
use crate::config::Config;
use crate::consumer::context::list_of;
use crate::ends::{self, Offsets, REQUEST_TIMEOUT, offset_in};
use crate::error::ClientError;
use crate::names::Names;
use crate::partitions::TopicPartition;

mod backlog;
mod counts;
mod gate;
mod membership;
mod oldest;
mod position;
mod scan;
mod timeline;
pub use backlog::{Backlog, BacklogReader};
use counts::Counts;
pub use gate::Gate;
use membership::Memberships;
pub use membership::{GroupState, GroupStatus};
use position::GroupPosition;
use scan::Scans;
use timeline::Timeline;

/// Lag of one group on one partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartitionLag {
    /// Catalogue name of the group.
    pub group: String,
    /// Catalogue name of the topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Number of records up to the high watermark that the group has not committed.
    pub lag_messages: i64,
    /// Number of these that open transactions hold back: from the last stable offset to the high watermark.
    pub held_messages: i64,
    /// Lower bound for the age of the oldest of them. 0 when there is none. None while it is unknown.
    pub lag_seconds: Option<f64>,
    /// Offset that the group has committed. None when it never committed here.
    pub committed: Option<i64>,
    /// High watermark of the partition.
    pub end: i64,
    /// Last stable offset of the partition, at which readers of committed records stop.
    pub stable_end: i64,
    /// Number of current members. 0 means that no consumer runs.
    pub members: usize,
    /// The committed offset is beyond the end, as in a topic that was created again. The next member begins at the oldest record.
    #[serde(default)]
    pub is_beyond_end: bool,
}

/// Lag of all groups at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Lag of each group on each of its partitions.
    pub partitions: Vec<PartitionLag>,
    /// State of each group.
    pub groups: Vec<GroupStatus>,
}

/// Reads the lag of groups over persistent connections.
pub struct Reader {
    groups: Vec<Member>,
    /// Reads partitions up to the high watermark.
    partitions: Observer,
    /// Reads partitions up to the last stable offset, without aborted records. None where the first number is enough.
    committed_only: Option<Observer>,
    names: Names,
    /// The lock also allows only one read at a time, because a client that reads records has one assignment.
    memory: Mutex<Memory>,
}

type Observer = Arc<BaseConsumer<Quiet>>;

/// A group whose lag is read.
struct Member {
    group: Group,
    topics: Vec<Arc<str>>,
    observer: Observer,
}

/// State that is kept between reads.
#[derive(Default)]
struct Memory {
    counts: Counts,
    timelines: BTreeMap<TopicPartition, Timeline>,
    scans: Scans,
    memberships: Memberships,
}

/// Result of one read.
#[derive(Default)]
struct Snapshot {
    positions: Vec<GroupPosition>,
    groups: Vec<GroupStatus>,
}

/// Reads the lag of `groups` once.
pub async fn read(config: &Config, groups: &[Group]) -> Result<Vec<PartitionLag>, ClientError> {
    let reader = Arc::new(Reader::new(config, groups)?);
    reader.read().await
}

impl Reader {
    /// Creates a reader for these groups, without those that keep no offsets on the broker.
    pub fn new(config: &Config, groups: &[Group]) -> Result<Self, ClientError> {
        let groups = groups.iter().filter(|group| group.commits());
        Self::over(config, groups.map(|group| (*group, topics_of(*group))), true)
    }

    /// Creates a reader that only counts unread offsets and reads the timestamp of the oldest.
    fn of_backlog(config: &Config, group: Group, topics: &[Topic]) -> Result<Self, ClientError> {
        let topics: Vec<Arc<str>> = topics.iter().map(|topic| Arc::from(topic.name())).collect();
        Self::over(config, std::iter::once((group, topics)), false)
    }

    fn over(
        config: &Config,
        groups: impl Iterator<Item = (Group, Vec<Arc<str>>)>,
        is_complete: bool,
    ) -> Result<Self, ClientError> {
        let problems = config.problems();
        if !problems.is_empty() {
            return Err(ClientError::Config(problems));
        }
        let names = config.names();
        let observer = |group: &str, isolation: &str| -> Result<Observer, ClientError> {
            let client = clients::observer(config, group)
                .set("isolation.level", isolation)
                .create_with_context(Quiet)
                .map_err(ClientError::kafka("creating a client that reads lag"))?;
            Ok(Arc::new(client))
        };
        let mut members = Vec::new();
        for (group, topics) in groups {
            let observer = observer(&names.physical(group.as_str()), "read_uncommitted")?;
            members.push(Member { group, topics, observer });
        }
        let outside = clients::outsider_group(config);
        let partitions = observer(&outside, "read_uncommitted")?;
        let committed_only = match is_complete {
            true => Some(observer(&outside, "read_committed")?),
            false => None,
        };
        Ok(Self { groups: members, partitions, committed_only, names, memory: Mutex::default() })
    }

    /// Reads the present lag of each partition.
    pub async fn read(self: &Arc<Self>) -> Result<Vec<PartitionLag>, ClientError> {
        Ok(self.reading().await?.partitions)
    }

    /// Reads the present lag of each partition, and the state of each group.
    pub async fn reading(self: &Arc<Self>) -> Result<Reading, ClientError> {
        let Snapshot { positions, groups } = self.snapshot().await?;
        Ok(Reading { partitions: positions.iter().map(GroupPosition::lag).collect(), groups })
    }

    async fn snapshot(self: &Arc<Self>) -> Result<Snapshot, ClientError> {
        let reader = Arc::clone(self);
        let read = telemetry::spawn_blocking(move || reader.read_blocking());
        read.await.unwrap_or(Err(ClientError::Cancelled { doing: "reading lag" }))
    }

    fn read_blocking(&self) -> Result<Snapshot, ClientError> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.counts.expire(Instant::now());
        let read = self.read_with(&mut memory);
        if read.is_err() {
            memory.counts.forget();
        }
        read
    }

    fn read_with(&self, memory: &mut Memory) -> Result<Snapshot, ClientError> {
        // Committed offsets are read before the ends. In the other order, a busy group would seem to be ahead.
        let mut snapshot = Snapshot::default();
        for member in &self.groups {
            let members = match self.committed_only {
                Some(_) => self.status(member, memory, &mut snapshot.groups)?,
                None => 0,
            };
            snapshot.positions.extend(self.committed(member, members, memory)?);
        }
        let positions = &mut snapshot.positions;
        if self.set_ends(positions)? {
            memory.counts.forget();
        }
        let now = Instant::now();
        if let Some(client) = &self.committed_only {
            scan::read(client, &self.names, &mut memory.scans, positions)?;
        }
        memory.observe(positions, now);
        oldest::read(&self.partitions, &self.names, positions)?;
        Ok(snapshot)
    }

    /// Adds the state of a group to `groups`, and returns the number of its members.
    fn status(
        &self,
        member: &Member,
        memory: &mut Memory,
        groups: &mut Vec<GroupStatus>,
    ) -> Result<usize, ClientError> {
        let physical = self.names.physical(member.group.as_str());
        let status = membership::read(&member.observer, member.group, &physical, &mut memory.memberships)?;
        let members = status.members;
        groups.push(status);
        Ok(members)
    }

    fn committed(
        &self,
        member: &Member,
        members: usize,
        memory: &mut Memory,
    ) -> Result<Vec<GroupPosition>, ClientError> {
        let Member { group, observer, .. } = member;
        let mut partitions = Vec::new();
        for topic in &member.topics {
            let read = || ends::partition_count(observer, &self.names.physical(topic));
            let count = memory.counts.of(topic, Instant::now(), read)?;
            partitions.extend((0..count).map(|partition| TopicPartition::new(Arc::clone(topic), partition)));
        }
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let stored = observer
            .committed_offsets(list_of(&partitions, &self.names), REQUEST_TIMEOUT)
            .map_err(ClientError::kafka("reading committed offsets"))?;
        let position = |partition: TopicPartition| {
            let committed = offset_in(&stored, &partition, &self.names);
            GroupPosition::new(*group, partition, committed, members)
        };
        Ok(partitions.into_iter().map(position).collect())
    }

    /// Reads the offsets of each partition, with a request to each broker for each kind of offset. Removes the positions in
    /// partitions that are gone, and returns true if there were any.
    fn set_ends(&self, positions: &mut Vec<GroupPosition>) -> Result<bool, ClientError> {
        let mut partitions: BTreeSet<TopicPartition> =
            positions.iter().map(|position| position.partition.clone()).collect();
        let count = partitions.len();
        let lows = ends::read(&self.partitions, &self.names, &mut partitions, Offset::Beginning)?;
        let ends = ends::read(&self.partitions, &self.names, &mut partitions, Offset::End)?;
        // The stable ends are read last. In the other order, new records would seem to be held back.
        let stable_ends = match &self.committed_only {
            Some(client) => ends::read(client, &self.names, &mut partitions, Offset::End)?,
            None => Offsets::new(),
        };
        positions.retain(|position| partitions.contains(&position.partition));
        for position in positions {
            let low = lows.get(&position.partition).copied().unwrap_or(0);
            position.end = ends.get(&position.partition).copied().unwrap_or(low);
            let stable_end = stable_ends.get(&position.partition).copied().unwrap_or(position.end);
            position.stable_end = stable_end.min(position.end);
            position.set_first_unread(low);
        }
        Ok(partitions.len() < count)
    }
}

impl Memory {
    /// Stores the ends of all partitions, and sets the time for which each oldest unread record has been known.
    fn observe(&mut self, positions: &mut [GroupPosition], now: Instant) {
        let mut ranges: BTreeMap<&TopicPartition, (i64, i64)> = BTreeMap::new();
        for position in &*positions {
            let range = ranges.entry(&position.partition).or_insert((position.first_unread, position.end));
            range.0 = range.0.min(position.first_unread);
        }
        for (partition, (lowest, end)) in ranges {
            self.timelines.entry(partition.clone()).or_default().observe(lowest, end, now);
        }
        for position in positions.iter_mut().filter(|position| position.unread() > 0) {
            let timeline = self.timelines.get(&position.partition);
            position.seen_for = timeline.and_then(|timeline| timeline.age(position.first_unread, now));
        }
    }
}

/// Catalogue names of the topics that a group reads, with its retry topics.
fn topics_of(group: Group) -> Vec<Arc<str>> {
    let topics = group.reads().iter().map(|topic| Arc::<str>::from(topic.name()));
    topics.chain(group.retry_topics().into_iter().map(Arc::<str>::from)).collect()
}
