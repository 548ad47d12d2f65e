//! The gateway's consumer reads every partition from its end, outside any group.
//!
//! Every instance receives every answer, because no group divides the partitions. A tail becomes ready once its positions are
//! known. From then on it misses no record, not even after a lost connection. Each instance writes one dead letter for an
//! unreadable record. A record that keeps failing is reported and passed, because no client waits for an old answer. New
//! partitions are read only after a restart, because adding them is a migration.

use std::sync::Arc;
use std::time::Duration;

use contracts::{Group, Topic};
use rdkafka::consumer::Consumer as _;
use tokio_util::sync::CancellationToken;

use crate::clients;
use crate::config::Config;
use crate::consumer::context::offsets_of;
use crate::consumer::{self, Client, Mode, Owner};
use crate::consumer_stats::ConsumerStats;
use crate::error::{ClientError, ConsumerError};
use crate::handler::Router;
use crate::hook::RecordHook;
use crate::names::Names;
use crate::offsets::NextOffset;
use crate::partitions::TopicPartition;
use crate::producer::Producer;
use crate::record_task::{Processor, RetryPolicy};
use crate::retry::Backoff;

/// Time-out of one request to the broker.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads all partitions of some topics from their ends, outside any group.
pub struct Tail {
    client: Arc<Client>,
    owner: Owner,
    topics: Vec<String>,
    names: Names,
    backoff: Backoff,
}

impl Tail {
    /// Creates a tail of `topics`. Unreadable records go to `<topic>.dlq.gateway` through `producer`.
    pub fn new(
        config: &Config,
        topics: &[Topic],
        router: Router,
        producer: Producer,
    ) -> Result<Self, ConsumerError> {
        consumer::check(config, topics, &router)?;
        let names: Vec<&str> = topics.iter().map(|topic| topic.name()).collect();
        let (client, rebalances) = consumer::connect(config, &clients::outsider(config), names.join(", "))?;
        let processor = Processor::new(Group::Gateway, router, producer, RetryPolicy::of_tail(config));
        Ok(Self {
            owner: Owner::new(config, Arc::clone(&client), rebalances, processor, Mode::Tail),
            client,
            topics: topics.iter().map(|topic| topic.name().to_owned()).collect(),
            names: config.names(),
            backoff: Backoff::new(config.retry_backoff_min_ms, config.retry_backoff_max_ms),
        })
    }

    /// Calls `hook` before the handler of each record. Only the first hook is used.
    #[must_use]
    pub fn with_hook(self, hook: Arc<dyn RecordHook>) -> Self {
        self.owner.set_hook(hook);
        self
    }

    /// Returns the figures of this tail, for monitoring while it runs.
    #[must_use]
    pub fn stats(&self) -> Arc<ConsumerStats> {
        self.owner.stats()
    }

    /// Consumes until `shutdown`. Calls `ready` with true once the positions are known.
    ///
    /// # Errors
    /// When the tail stopped for another reason. The process should then exit and be restarted. The error was already reported,
    /// so do not report it again.
    pub async fn run(
        mut self,
        shutdown: CancellationToken,
        ready: impl Fn(bool) + Send + Sync + 'static,
    ) -> Result<(), ConsumerError> {
        let ready = Box::new(ready);
        ready(false);
        let Some(positions) = self.await_positions(&shutdown).await else {
            drop(self.client);
            return self.owner.run(shutdown, ready).await; // stopped before it began
        };
        for (partition, next) in &positions {
            self.owner.own_from(partition, *next);
        }
        if let Err(error) = self.assign(&positions) {
            let error = ConsumerError::from(error);
            let group = ("messaging.consumer.group.name", Group::Gateway.as_str());
            telemetry::report(&error, &[("error.kind", error.kind()), group]);
            return Err(error);
        }
        self.owner.mark_assigned();
        drop(self.client);
        self.owner.run(shutdown, ready).await
    }

    fn assign(&self, positions: &[(TopicPartition, NextOffset)]) -> Result<(), ClientError> {
        let offsets = positions.iter().map(|(partition, next)| (partition, *next));
        let list = offsets_of(offsets, &self.names).map_err(ClientError::kafka("listing positions"))?;
        consumer::assign_at(&self.client, &list)
    }

    /// Requests the positions until the broker answers. Returns None at shutdown.
    async fn await_positions(
        &mut self,
        shutdown: &CancellationToken,
    ) -> Option<Vec<(TopicPartition, NextOffset)>> {
        loop {
            let (client, names, topics) = (Arc::clone(&self.client), self.names.clone(), self.topics.clone());
            let requested = telemetry::spawn_blocking(move || end_offsets(&client, &names, &topics));
            let pause = self.backoff.next(rand::random());
            match requested.await {
                Ok(Ok(positions)) => return Some(positions),
                Ok(Err(error)) => tracing::warn!(
                    "the end offsets of the topics could not be read; the request is repeated: {error}"
                ),
                Err(_) => tracing::warn!(
                    "the request for the end offsets of the topics was cancelled and is repeated"
                ),
            }
            tokio::select! {
                () = shutdown.cancelled() => return None,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

/// Reads the end of every partition. Runs on a blocking thread.
fn end_offsets(
    client: &Client,
    names: &Names,
    topics: &[String],
) -> Result<Vec<(TopicPartition, NextOffset)>, ClientError> {
    let mut positions = Vec::new();
    for topic in topics {
        let physical = names.physical(topic);
        for partition in partitions_of(client, &physical)? {
            let (_, end) = client
                .fetch_watermarks(&physical, partition, REQUEST_TIMEOUT)
                .map_err(ClientError::kafka("reading the end offset of a partition"))?;
            positions.push((TopicPartition::new(topic.as_str(), partition), NextOffset(end)));
        }
    }
    Ok(positions)
}

fn partitions_of(client: &Client, physical: &str) -> Result<Vec<i32>, ClientError> {
    let metadata = client
        .fetch_metadata(Some(physical), REQUEST_TIMEOUT)
        .map_err(ClientError::kafka("reading a topic's partitions"))?;
    let found = metadata.topics().iter().find(|topic| topic.name() == physical);
    let partitions: Vec<i32> = found
        .map(|topic| topic.partitions().iter().map(|partition| partition.id()).collect())
        .unwrap_or_default();
    if partitions.is_empty() {
        let missing = rdkafka::error::RDKafkaErrorCode::UnknownTopicOrPartition;
        let source = rdkafka::error::KafkaError::MetadataFetch(missing);
        return Err(ClientError::Kafka { doing: "reading a topic's partitions", source });
    }
    Ok(partitions)
}
