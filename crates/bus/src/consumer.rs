//! The consumer of a group: one owner task holds all state, and handlers run in lanes beside it.
//!
//! ```text
//!  librdkafka ──poll──► owner ──► lane = hash(key) ──────► handler
//!                         ▲ offsets per partition and assignment │
//!                         └──────── completion(epoch, offset) ◄──┘
//! ```
//!
//! It guarantees that a committed offset never passes an unfinished record, that records of one key are handled in order, and
//! that memory is bounded. Revoked partitions are drained, committed and only then given back. A shutdown finishes records in
//! flight within a deadline. Delivery is at least once: the records in flight of a killed or frozen process are redelivered. A
//! record in a retry topic is handled when it is due (`due`), and a consumer whose records mostly become dead letters pauses
//! (`breaking`). Records that the broker deleted before they were read are counted and reported (`gaps`).

use std::sync::Arc;

use contracts::{Group, Topic};
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clients;
use crate::config::Config;
use crate::consumer_stats::ConsumerStats;
use crate::error::{ClientError, ConsumerError};
use crate::handler::Router;
use crate::hook::RecordHook;
use crate::producer::Producer;
use crate::record_task::{Processor, RetryPolicy};

pub(crate) mod context;

mod breaking;
mod close;
mod commit;
mod damage;
mod due;
mod gaps;
mod handover;
mod health;
mod owner;
mod statistics;
mod watchdog;
mod work;

use context::{MemberContext, Rebalance};
pub(crate) use owner::{Mode, Owner};

/// Capacity of the rebalance channel. librdkafka requests one rebalance at a time, so more would only hide an unresponsive owner.
const REBALANCE_EVENTS_MAX: usize = 16;

pub(crate) type Client = StreamConsumer<MemberContext>;

/// A member of a consumer group.
pub struct Consumer {
    owner: Owner,
}

impl Consumer {
    /// Creates a member of `group` that reads the group's topics and retry topics. It joins in [`Self::run`]. `producer` publishes
    /// records that failed to retry and dead-letter topics.
    pub fn new(
        config: &Config,
        group: Group,
        router: Router,
        producer: Producer,
    ) -> Result<Self, ConsumerError> {
        check(config, group.reads(), &router)?;
        let names = config.names();
        let mut topics: Vec<String> = group.reads().iter().map(|topic| topic.name().to_owned()).collect();
        topics.extend(group.retry_topics());
        let settings = clients::member(config, &names.physical(group.as_str()));
        let (client, rebalances) = connect(config, &settings, topics.join(", "))?;
        let topics: Vec<String> = topics.iter().map(|topic| names.physical(topic)).collect();
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        client.subscribe(&topics).map_err(ClientError::kafka("subscribing to topics"))?;
        let processor = Processor::new(group, router, producer, RetryPolicy::of_group(config, group));
        Ok(Self { owner: Owner::new(config, client, rebalances, processor, Mode::Member) })
    }

    /// Calls `hook` before the handler of each record. Only the first hook is used.
    #[must_use]
    pub fn with_hook(self, hook: Arc<dyn RecordHook>) -> Self {
        self.owner.set_hook(hook);
        self
    }

    /// Returns the figures of this consumer, for monitoring while it runs.
    #[must_use]
    pub fn stats(&self) -> Arc<ConsumerStats> {
        self.owner.stats()
    }

    /// Consumes until `shutdown`, then drains and closes. Calls `ready` with true while records can be taken.
    ///
    /// # Errors
    /// When the consumer stopped for another reason. The process should then exit and be restarted. The error was already
    /// reported, so do not report it again.
    pub async fn run(
        self,
        shutdown: CancellationToken,
        ready: impl Fn(bool) + Send + Sync + 'static,
    ) -> Result<(), ConsumerError> {
        self.owner.run(shutdown, Box::new(ready)).await
    }
}

/// Checks settings and routes. Returns all problems at once.
pub(crate) fn check(config: &Config, topics: &[Topic], router: &Router) -> Result<(), ClientError> {
    let mut problems = config.problems();
    for event_type in router.types() {
        if !topics.contains(&event_type.topic()) {
            let (name, topic) = (event_type.as_str(), event_type.topic().name());
            problems.push(format!("{name} has a handler, but this consumer does not read {topic}"));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(ClientError::Config(problems)) }
}

pub(crate) fn connect(
    config: &Config,
    settings: &rdkafka::ClientConfig,
    subscription: String,
) -> Result<(Arc<Client>, mpsc::Receiver<Rebalance>), ClientError> {
    let (events, rebalances) = mpsc::channel(REBALANCE_EVENTS_MAX);
    let context = MemberContext::new(config.names(), subscription, events);
    let client: Client =
        settings.create_with_context(context).map_err(ClientError::kafka("creating the consumer"))?;
    Ok((Arc::new(client), rebalances))
}

/// Assigns `positions`, outside any group.
pub(crate) fn assign_at(client: &Client, positions: &TopicPartitionList) -> Result<(), ClientError> {
    client.assign(positions).map_err(ClientError::kafka("assigning partitions"))
}
