//! Reader of whole topics outside every group, for checks of what was published.
//!
//! It reads from given offsets to given ends, a bounded number of records at a time. Nothing is committed, so any number of readers
//! see all records. Records of aborted transactions are left out. Each partition is read in the order of its offsets.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use contracts::{Group, Topic};
use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio_util::sync::CancellationToken;

use crate::clients::{self, Quiet};
use crate::config::Config;
use crate::consumer::context::{list_of, offsets_of};
use crate::ends::REQUEST_TIMEOUT;
use crate::error::ClientError;
use crate::leadership::await_leader;
use crate::offsets::NextOffset;
use crate::outside::{Held, Outside, POLL, Ranges};
use crate::partitions::TopicPartition;
use crate::record::Record;

/// Some records of a topic.
#[derive(Debug, Default)]
pub struct Chunk {
    /// The records, in the order of their offsets within each partition.
    pub records: Vec<Record>,
    /// What is left to read.
    pub left: Ranges,
}

/// Reads topics outside every group.
pub struct TopicReader {
    outside: Outside,
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
        Ok(Arc::new(Self {
            outside: Outside::new(config)?,
            config: config.clone(),
            reading: Mutex::default(),
        }))
    }

    /// Returns the offsets that can be read of a topic now: from the oldest record to the last stable offset. Empty: there is no
    /// such topic.
    ///
    /// # Errors
    /// When the broker does not answer, or cannot say which partitions the topic has.
    pub async fn extents(self: &Arc<Self>, topic: Topic) -> Result<Ranges, ClientError> {
        self.blocking(move |reader| reader.outside.extents(topic.name())).await
    }

    /// Returns the same, and how many records behind the ends cannot be read yet, because a transaction is open. A record that was
    /// published before this call is before an end, or its partition has held records.
    ///
    /// # Errors
    /// When the broker does not answer, or cannot say which partitions the topic has.
    pub async fn extents_and_held(self: &Arc<Self>, topic: Topic) -> Result<(Ranges, Held), ClientError> {
        self.blocking(move |reader| reader.outside.extents_and_held(topic.name())).await
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
        let times = offsets_of(times, self.outside.names()).map_err(ClientError::kafka(DOING))?;
        let client = self.outside.records()?;
        let found = await_leader(|| {
            let found = client.offsets_for_times(times.clone(), REQUEST_TIMEOUT);
            numbers(&found.map_err(ClientError::kafka(DOING))?, DOING)
        })?;
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
        let names = self.outside.names();
        // The client bears the group's name to ask for its offsets. It never joins.
        let client: BaseConsumer<Quiet> = clients::observer(&self.config, &names.physical(group.as_str()))
            .create_with_context(Quiet)
            .map_err(ClientError::kafka("creating a client that reads committed offsets"))?;
        let keys = partitions_of(topic, partitions.iter().copied());
        let stored = client.committed_offsets(list_of(&keys, names), REQUEST_TIMEOUT);
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
        let names = self.outside.names();
        let _only_read = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        left.retain(|_, range| !range.is_empty());
        let mut records = Vec::new();
        if left.is_empty() {
            return Ok(Chunk { records, left });
        }
        let client = self.outside.records()?;
        let keys = partitions_of(topic, left.keys().copied());
        let starts = keys.iter().zip(left.values().map(|range| NextOffset(range.start)));
        let list = offsets_of(starts, names).map_err(ClientError::kafka(DOING))?;
        client.assign(&list).map_err(ClientError::kafka(DOING))?;
        while !left.is_empty()
            && records.len() < records_max
            && Instant::now() < until
            && !is_dropped.is_cancelled()
        {
            match client.poll(POLL) {
                Some(Ok(message)) => {
                    let record = Record::from_message(&message, names);
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
