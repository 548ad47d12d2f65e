//! Reader of whole topics outside every group, for checks of what was published.
//!
//! It reads from given offsets to given ends, a bounded number of records at a time. Nothing is committed, so any number of readers
//! see all records. Records of aborted transactions are left out. Each partition is read in the order of its offsets.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use contracts::{Group, Topic};
use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::clients::{self, Quiet};
use crate::config::Config;
use crate::consumer::context::{list_of, offsets_of};
use crate::error::ClientError;
use crate::offsets::NextOffset;
use crate::partitions::TopicPartition;
use crate::record::Record;
use crate::watermarks::{self, Watermarks};

/// Time-out of one request to the broker.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Time-out of one poll.
const POLL: Duration = Duration::from_millis(100);

/// Offsets of a topic by partition. The end of a range is not part of it.
pub type Ranges = BTreeMap<i32, Range<i64>>;

/// Number of records that open transactions hold back, by partition. Partitions without any are left out.
pub type Held = BTreeMap<i32, u64>;

/// Some records of a topic.
#[derive(Debug, Default)]
pub struct Chunk {
    /// The records, in the order of their offsets within each partition.
    pub records: Vec<Record>,
    /// What is left to read.
    pub left: Ranges,
}

struct Clients {
    /// Reads committed records.
    records: BaseConsumer<Quiet>,
    watermarks: Watermarks,
}

/// Reads topics outside every group.
pub struct TopicReader {
    /// They are there until the reader is dropped.
    clients: Option<Clients>,
    config: Config,
    /// The client has one assignment, so only one read at a time is possible.
    reading: Mutex<()>,
}

impl TopicReader {
    /// Creates a reader. It connects in the background.
    ///
    /// # Errors
    /// When the settings are invalid.
    pub fn new(config: &Config) -> Result<Arc<Self>, ClientError> {
        let problems = config.problems();
        if !problems.is_empty() {
            return Err(ClientError::Config(problems));
        }
        let mut settings = clients::outsider(config);
        settings
            // the end of a partition may be a transaction marker, which is never delivered
            .set("enable.partition.eof", "true")
            // a pending fetch of one topic would delay the first fetch of the next one
            .set("fetch.wait.max.ms", "20")
            .set("fetch.min.bytes", "1");
        let records: BaseConsumer<Quiet> = settings
            .create_with_context(Quiet)
            .map_err(ClientError::kafka("creating a client that reads topics"))?;
        let clients = Clients { records, watermarks: Watermarks::new(config)? };
        Ok(Arc::new(Self { clients: Some(clients), config: config.clone(), reading: Mutex::default() }))
    }

    /// Returns the offsets that can be read of a topic now: from the oldest record to the last stable offset. Empty: there is no
    /// such topic.
    ///
    /// # Errors
    /// When the broker does not answer, or cannot say which partitions the topic has.
    pub async fn extents(self: &Arc<Self>, topic: Topic) -> Result<Ranges, ClientError> {
        self.blocking(move |reader| reader.extents_of(topic, &reader.partitions(topic)?)).await
    }

    /// Returns the same, and how many records behind the ends cannot be read yet, because a transaction is open. A record that was
    /// published before this call is before an end, or its partition has held records.
    ///
    /// # Errors
    /// When the broker does not answer, or cannot say which partitions the topic has.
    pub async fn extents_and_held(self: &Arc<Self>, topic: Topic) -> Result<(Ranges, Held), ClientError> {
        self.blocking(move |reader| reader.extents_and_held_blocking(topic)).await
    }

    /// Returns the offset of the first record of this time or later in each partition, and the end where there is none.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn offsets_at(
        self: &Arc<Self>,
        topic: Topic,
        extents: &Ranges,
        at_ms: i64,
    ) -> Result<BTreeMap<i32, i64>, ClientError> {
        let extents = extents.clone();
        self.blocking(move |reader| reader.offsets_at_blocking(topic, &extents, at_ms)).await
    }

    /// Returns the offsets that a group has committed. Partitions without one are left out.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn committed(
        self: &Arc<Self>,
        group: Group,
        topic: Topic,
        extents: &Ranges,
    ) -> Result<BTreeMap<i32, i64>, ClientError> {
        let partitions: Vec<i32> = extents.keys().copied().collect();
        self.blocking(move |reader| reader.committed_blocking(group, topic, &partitions)).await
    }

    /// Reads records, at most `records_max` of them. Those that the broker has deleted are passed silently: whoever needs to know
    /// compares the offsets with [`TopicReader::extents`] afterwards. Dropping the future ends the read.
    ///
    /// # Errors
    /// When the broker does not deliver them before the deadline.
    pub async fn read(
        self: &Arc<Self>,
        topic: Topic,
        ranges: Ranges,
        records_max: usize,
        deadline: Duration,
    ) -> Result<Chunk, ClientError> {
        let is_dropped = CancellationToken::new();
        let _cancels_when_dropped = is_dropped.clone().drop_guard();
        let until = Instant::now() + deadline;
        self.blocking(move |reader| reader.read_blocking(topic, ranges, records_max, until, &is_dropped))
            .await
    }

    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, ClientError> + Send + 'static,
    ) -> Result<T, ClientError> {
        let reader = Arc::clone(self);
        let done = telemetry::spawn_blocking(move || work(&reader));
        done.await.unwrap_or(Err(ClientError::Cancelled { doing: "reading a topic" }))
    }

    fn clients(&self) -> Result<&Clients, ClientError> {
        self.clients.as_ref().ok_or(ClientError::Cancelled { doing: "reading a topic" })
    }

    fn client(&self) -> Result<&BaseConsumer<Quiet>, ClientError> {
        Ok(&self.clients()?.records)
    }

    /// Returns the partitions of a topic, none if there is no such topic.
    fn partitions(&self, topic: Topic) -> Result<Vec<i32>, ClientError> {
        const DOING: &str = "reading a topic's partitions";
        let physical = self.config.names().physical(topic.name());
        let client = self.client()?;
        let metadata =
            client.fetch_metadata(Some(&physical), REQUEST_TIMEOUT).map_err(ClientError::kafka(DOING))?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == physical) else {
            return Ok(Vec::new());
        };
        match found.error().map(RDKafkaErrorCode::from) {
            Some(code) if is_missing(code) => Ok(Vec::new()),
            Some(code) => Err(ClientError::Kafka { doing: DOING, source: KafkaError::MetadataFetch(code) }),
            None => Ok(found.partitions().iter().map(|partition| partition.id()).collect()),
        }
    }

    fn extents_of(&self, topic: Topic, partitions: &[i32]) -> Result<Ranges, ClientError> {
        let physical = self.config.names().physical(topic.name());
        let client = self.client()?;
        let mut extents = Ranges::new();
        for partition in partitions {
            // The end is the last stable offset, because the client reads only committed records
            let (low, end) = client
                .fetch_watermarks(&physical, *partition, REQUEST_TIMEOUT)
                .map_err(ClientError::kafka("reading the end offset of a partition"))?;
            extents.insert(*partition, low..end.max(low));
        }
        Ok(extents)
    }

    fn extents_and_held_blocking(&self, topic: Topic) -> Result<(Ranges, Held), ClientError> {
        let partitions = self.partitions(topic)?;
        let keys = partitions_of(topic, partitions.iter().copied());
        let high_watermarks = self.clients()?.watermarks.of(&keys)?;
        let extents = self.extents_of(topic, &partitions)?;
        let held = extents.iter().map(|(partition, extent)| {
            (*partition, watermarks::held(high_watermarks.get(partition).copied(), extent.end))
        });
        let held = held.filter(|(_, count)| *count > 0).collect();
        Ok((extents, held))
    }

    fn offsets_at_blocking(
        &self,
        topic: Topic,
        extents: &Ranges,
        at_ms: i64,
    ) -> Result<BTreeMap<i32, i64>, ClientError> {
        const DOING: &str = "reading the offsets of a time";
        if extents.is_empty() {
            return Ok(BTreeMap::new());
        }
        let keys = partitions_of(topic, extents.keys().copied());
        // librdkafka takes the time in the place of the offset
        let times = keys.iter().map(|key| (key, NextOffset(at_ms.max(0))));
        let times = offsets_of(times, &self.config.names()).map_err(ClientError::kafka(DOING))?;
        let found =
            self.client()?.offsets_for_times(times, REQUEST_TIMEOUT).map_err(ClientError::kafka(DOING))?;
        let found = numbers(&found, DOING)?;
        let offsets = extents.iter().map(|(partition, extent)| {
            let offset = found.get(partition).copied().unwrap_or(extent.end);
            (*partition, offset.clamp(extent.start, extent.end))
        });
        Ok(offsets.collect())
    }

    fn committed_blocking(
        &self,
        group: Group,
        topic: Topic,
        partitions: &[i32],
    ) -> Result<BTreeMap<i32, i64>, ClientError> {
        const DOING: &str = "reading committed offsets";
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        let names = self.config.names();
        // The client bears the group's name to ask for its offsets. It never joins.
        let client: BaseConsumer<Quiet> = clients::observer(&self.config, &names.physical(group.as_str()))
            .create_with_context(Quiet)
            .map_err(ClientError::kafka("creating a client that reads committed offsets"))?;
        let keys = partitions_of(topic, partitions.iter().copied());
        let stored = client.committed_offsets(list_of(&keys, &names), REQUEST_TIMEOUT);
        numbers(&stored.map_err(ClientError::kafka(DOING))?, DOING)
    }

    fn read_blocking(
        &self,
        topic: Topic,
        mut left: Ranges,
        records_max: usize,
        until: Instant,
        is_dropped: &CancellationToken,
    ) -> Result<Chunk, ClientError> {
        const DOING: &str = "reading a topic";
        let names = self.config.names();
        let _only_read = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        left.retain(|_, range| !range.is_empty());
        let mut records = Vec::new();
        if left.is_empty() {
            return Ok(Chunk { records, left });
        }
        let client = self.client()?;
        let keys = partitions_of(topic, left.keys().copied());
        let starts = keys.iter().zip(left.values().map(|range| NextOffset(range.start)));
        let list = offsets_of(starts, &names).map_err(ClientError::kafka(DOING))?;
        client.assign(&list).map_err(ClientError::kafka(DOING))?;
        while !left.is_empty()
            && records.len() < records_max
            && Instant::now() < until
            && !is_dropped.is_cancelled()
        {
            match client.poll(POLL) {
                Some(Ok(message)) => {
                    let record = Record::from_message(&message, &names);
                    let Some(range) = left.get_mut(&record.partition) else { continue };
                    let (partition, is_wanted) = (record.partition, range.contains(&record.offset));
                    // records behind the end are left to a later read
                    range.start = range.start.max(record.offset.saturating_add(1));
                    if range.is_empty() {
                        left.remove(&partition);
                    }
                    if is_wanted {
                        records.push(record);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    left.remove(&partition);
                }
                // librdkafka repeats the request by itself until the deadline
                Some(Err(error)) => tracing::debug!("a topic could not be read yet: {error}"),
                None => {}
            }
        }
        client.unassign().map_err(ClientError::kafka(DOING))?;
        if !left.is_empty() && records.len() < records_max {
            let source = KafkaError::Global(RDKafkaErrorCode::OperationTimedOut);
            return Err(ClientError::Kafka { doing: DOING, source });
        }
        Ok(Chunk { records, left })
    }
}

impl Drop for TopicReader {
    /// The clients poll until they have closed, so they are dropped on a thread that may wait.
    fn drop(&mut self) {
        let clients = self.clients.take();
        if Handle::try_current().is_ok() {
            drop(telemetry::spawn_blocking(move || drop(clients)));
        }
    }
}

/// Returns true if the answer says that there is no such topic. Any other error says nothing about that.
const fn is_missing(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)
}

fn partitions_of(topic: Topic, partitions: impl Iterator<Item = i32>) -> Vec<TopicPartition> {
    partitions.map(|partition| TopicPartition::new(topic.name(), partition)).collect()
}

/// Returns the offsets of a list of one topic. Partitions without one are left out.
fn numbers(list: &TopicPartitionList, doing: &'static str) -> Result<BTreeMap<i32, i64>, ClientError> {
    let mut offsets = BTreeMap::new();
    for element in list.elements() {
        element.error().map_err(ClientError::kafka(doing))?;
        if let Offset::Offset(offset) = element.offset() {
            offsets.insert(element.partition(), offset);
        }
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unknown_topic_is_missing() {
        assert!(is_missing(RDKafkaErrorCode::UnknownTopicOrPartition));
        for code in [
            RDKafkaErrorCode::LeaderNotAvailable,
            RDKafkaErrorCode::TopicAuthorizationFailed,
            RDKafkaErrorCode::InvalidTopic,
        ] {
            assert!(!is_missing(code), "{code:?}");
        }
    }
}
