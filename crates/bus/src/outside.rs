//! Clients that read topics outside every group, and what a topic has for them at present.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use rdkafka::Offset;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::runtime::Handle;

use crate::clients::{self, Quiet};
use crate::config::Config;
use crate::ends;
use crate::error::ClientError;
use crate::names::Names;
use crate::partitions::TopicPartition;

/// Time-out of one poll.
pub(crate) const POLL: Duration = Duration::from_millis(100);

/// Offsets of a topic by partition. The end of a range is not part of it.
pub type Ranges = BTreeMap<i32, Range<i64>>;

/// Number of records that open transactions hold back, by partition. Partitions without any are left out.
pub type Held = BTreeMap<i32, u64>;

struct Clients {
    /// Reads committed records.
    records: BaseConsumer<Quiet>,
    /// Sees uncommitted records, so a partition ends at its high watermark.
    high_watermarks: BaseConsumer<Quiet>,
}

/// Clients outside every group. All methods block.
pub(crate) struct Outside {
    /// They are there until this is dropped.
    clients: Option<Clients>,
    names: Names,
}

impl Outside {
    /// Creates the clients. They connect in the background.
    ///
    /// # Errors
    /// When the settings are invalid.
    pub(crate) fn new(config: &Config) -> Result<Self, ClientError> {
        const DOING: &str = "creating a client that reads topics";
        let problems = config.problems();
        if !problems.is_empty() {
            return Err(ClientError::Config(problems));
        }
        let mut settings = clients::outsider(config);
        settings
            // The end of a partition may be a transaction marker, which is never delivered
            .set("enable.partition.eof", "true")
            // A pending fetch of one topic would delay the first fetch of the next one
            .set("fetch.wait.max.ms", "20")
            .set("fetch.min.bytes", "1");
        let records = settings.create_with_context(Quiet).map_err(ClientError::kafka(DOING))?;
        let high_watermarks = clients::observer(config, &clients::outsider_group(config))
            .create_with_context(Quiet)
            .map_err(ClientError::kafka(DOING))?;
        Ok(Self { clients: Some(Clients { records, high_watermarks }), names: config.names() })
    }

    fn clients(&self) -> Result<&Clients, ClientError> {
        self.clients.as_ref().ok_or(ClientError::Cancelled { doing: "reading a topic" })
    }

    /// Returns the client that reads committed records.
    pub(crate) fn records(&self) -> Result<&BaseConsumer<Quiet>, ClientError> {
        Ok(&self.clients()?.records)
    }

    /// Returns the mapping of names to those on the broker.
    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// Returns the offsets that can be read of a topic now: from the oldest record to the last stable offset. Empty: there is no
    /// such topic.
    pub(crate) fn extents(&self, topic: &str) -> Result<Ranges, ClientError> {
        self.extents_of(&self.partitions(self.records()?, topic)?)
    }

    /// Returns the same, and how many records behind the ends cannot be read yet.
    pub(crate) fn extents_and_held(&self, topic: &str) -> Result<(Ranges, Held), ClientError> {
        let client = &self.clients()?.high_watermarks;
        // Each client has its own metadata of the topic, which this request renews
        let high_watermarks = self.read(client, &self.partitions(client, topic)?, Offset::End)?;
        let partitions = self.partitions(self.records()?, topic)?;
        let extents = self.extents_of(&partitions)?;
        let held = partitions.iter().filter_map(|key| {
            let stable_end = extents.get(&key.partition)?.end;
            Some((key.partition, ends::held(high_watermarks.get(key).copied(), stable_end)))
        });
        let held = held.filter(|(_, count)| *count > 0).collect();
        Ok((extents, held))
    }

    fn extents_of(&self, partitions: &BTreeSet<TopicPartition>) -> Result<Ranges, ClientError> {
        let client = self.records()?;
        let lows = self.read(client, partitions, Offset::Beginning)?;
        // The end is the last stable offset, because the client reads only committed records
        let stable_ends = self.read(client, partitions, Offset::End)?;
        let extent = |key: &TopicPartition| {
            let low = lows.get(key).copied().unwrap_or(0);
            let end = stable_ends.get(key).copied().unwrap_or(low);
            (key.partition, low..end.max(low))
        };
        Ok(partitions.iter().map(extent).collect())
    }

    /// Returns the ends of partitions that the broker has just named. A client that does not know one of them has old metadata. It
    /// is an error, because the records of that partition would seem not to exist.
    fn read(
        &self,
        client: &BaseConsumer<Quiet>,
        partitions: &BTreeSet<TopicPartition>,
        which: Offset,
    ) -> Result<ends::Offsets, ClientError> {
        let mut known = partitions.clone();
        let offsets = ends::read(client, &self.names, &mut known, which)?;
        if known.len() == partitions.len() {
            return Ok(offsets);
        }
        let source = KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownPartition);
        Err(ClientError::Kafka { doing: "reading the ends of a topic's partitions", source })
    }

    fn partitions(
        &self,
        client: &BaseConsumer<Quiet>,
        topic: &str,
    ) -> Result<BTreeSet<TopicPartition>, ClientError> {
        let count = ends::partition_count(client, &self.names.physical(topic))?;
        Ok((0..count).map(|partition| TopicPartition::new(topic, partition)).collect())
    }
}

impl Drop for Outside {
    /// The clients poll until they have closed, so they are dropped on a thread that may wait.
    fn drop(&mut self) {
        let clients = self.clients.take();
        if Handle::try_current().is_ok() {
            drop(telemetry::spawn_blocking(move || drop(clients)));
        }
    }
}
