//! The consumer of a group: one owner task holds all state, lanes work beside it.
//!
//! ```text
//!  librdkafka ──poll──► owner ──► lane = hash(key) % N ──► handler
//!                         ▲  ledger per partition and assignment │
//!                         └──────── completion(epoch, offset) ◄──┘
//! ```
//!
//! Promises: a committed offset never passes an unfinished one; records of one key are handled in order; what is held is
//! bounded; partitions that move away are drained, committed and only then given back; a stop finishes what was begun,
//! within a deadline. Delivery is at least once: a killed or frozen process leaves work that comes again.

use std::sync::Arc;

use contracts::{Group, Topic};
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clients;
use crate::config::Config;
use crate::error::{ClientError, ConsumerError};
use crate::handler::Router;
use crate::load::Load;
use crate::process::{Processor, RetryPolicy};
use crate::producer::Producer;

pub(crate) mod context;

mod close;
mod commit;
mod damage;
mod handover;
mod health;
mod owner;
mod statistics;
mod watchdog;
mod work;

use context::{MemberContext, Rebalance};
pub(crate) use owner::{Mode, Owner};

/// librdkafka asks for one rebalance at a time; room for more would hide that the owner does not answer.
const REBALANCE_EVENTS_MAX: usize = 16;

pub(crate) type Client = StreamConsumer<MemberContext>;

/// A member of a consumer group.
pub struct Consumer {
    owner: Owner,
}

impl Consumer {
    /// A member of `group` that reads what the group reads. Joins when it runs; dead letters go out through `producer`.
    pub fn new(
        config: &Config,
        group: Group,
        router: Router,
        producer: Producer,
    ) -> Result<Self, ConsumerError> {
        check(config, group.reads(), &router)?;
        let (client, rebalances) =
            connect(config, &clients::member(config, &config.names().physical(group.as_str())))?;
        let names = config.names();
        let topics: Vec<String> = group.reads().iter().map(|topic| names.physical(topic.name())).collect();
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        client.subscribe(&topics).map_err(ClientError::kafka("subscribing"))?;
        let processor = Processor { group, router, producer, retry: RetryPolicy::new(config, true) };
        Ok(Self { owner: Owner::new(config, client, rebalances, processor, Mode::Member) })
    }

    /// What it holds, to be watched while it runs.
    #[must_use]
    pub fn load(&self) -> Arc<Load> {
        self.owner.load()
    }

    /// Consumes until `shutdown`, then stops in order. `ready` hears whether records can be taken.
    ///
    /// # Errors
    /// When it ended for another reason: the process should end too and be started again. The reason was reported
    /// already; do not report it twice.
    pub async fn run(
        self,
        shutdown: CancellationToken,
        ready: impl Fn(bool) + Send + Sync + 'static,
    ) -> Result<(), ConsumerError> {
        self.owner.run(shutdown, Box::new(ready)).await
    }
}

/// All that is wrong with the settings and the routes, at once.
pub(crate) fn check(config: &Config, topics: &[Topic], router: &Router) -> Result<(), ClientError> {
    let mut problems = config.problems();
    for event_type in router.types() {
        if !topics.contains(&event_type.topic()) {
            let (name, topic) = (event_type.as_str(), event_type.topic().name());
            problems.push(format!("{name} has a handler, but {topic} is not read here"));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(ClientError::Config(problems)) }
}

pub(crate) fn connect(
    config: &Config,
    settings: &rdkafka::ClientConfig,
) -> Result<(Arc<Client>, mpsc::Receiver<Rebalance>), ClientError> {
    let (events, rebalances) = mpsc::channel(REBALANCE_EVENTS_MAX);
    let context = MemberContext::new(config.names(), events);
    let client: Client =
        settings.create_with_context(context).map_err(ClientError::kafka("creating the consumer"))?;
    Ok((Arc::new(client), rebalances))
}

/// Reads `partitions` from the given offsets, outside any group.
pub(crate) fn assign_at(client: &Client, positions: &TopicPartitionList) -> Result<(), ClientError> {
    client.assign(positions).map_err(ClientError::kafka("assigning partitions"))
}
