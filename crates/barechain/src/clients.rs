//! Kafka's clients, with the settings of `crates/bus/src/clients.rs`, which has their reasons.

use std::time::Duration;

use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::sync::watch;

use crate::topics::PARTITIONS;
use crate::{ChainError, Settings};

/// What a producer does.
const PUBLISHING: &str = "publishing a record";
/// Maximum wait for space in the producer's queue.
const QUEUE_FULL_TIMEOUT: Duration = Duration::from_secs(1);

/// Tells when the group has given the consumer its partitions.
pub(crate) struct Member {
    assigned: watch::Sender<bool>,
}

impl ClientContext for Member {}

impl ConsumerContext for Member {
    fn post_rebalance(&self, _consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(partitions) = rebalance
            && partitions.count() > 0
        {
            self.assigned.send_replace(true);
        }
    }
}

fn base(settings: &Settings) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", &settings.kafka)
        .set("client.id", &settings.name)
        .set("allow.auto.create.topics", "false")
        .set("socket.nagle.disable", "true")
        .set("topic.metadata.refresh.interval.ms", "10000")
        .set("reconnect.backoff.max.ms", "2000");
    client
}

fn fetching(settings: &Settings) -> ClientConfig {
    let mut client = base(settings);
    client
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("queued.max.messages.kbytes", "4096")
        .set("queued.min.messages", "1000")
        .set("fetch.max.bytes", "4194304")
        .set("receive.message.max.bytes", "16777216")
        .set("fetch.min.bytes", "1")
        .set("fetch.wait.max.ms", "500")
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.error.backoff.ms", "100")
        .set("check.crcs", "true");
    client
}

/// The client that creates and deletes topics.
pub(crate) fn admin(settings: &Settings) -> Result<AdminClient<DefaultClientContext>, ChainError> {
    base(settings).create().map_err(ChainError::kafka("creating the administration client"))
}

/// The producer, which all replicas acknowledge.
pub(crate) fn producer(settings: &Settings) -> Result<FutureProducer, ChainError> {
    let mut client = base(settings);
    client
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("partitioner", "murmur2_random")
        .set("compression.type", "none")
        .set("linger.ms", "0")
        .set("message.timeout.ms", "30000")
        .set("message.max.bytes", "2097152")
        .set("batch.size", "262144")
        .set("queue.buffering.max.messages", "10000")
        .set("queue.buffering.max.kbytes", "16384");
    client.create().map_err(ChainError::kafka("creating the producer"))
}

/// The consumer of the commands, which has joined its group when the receiver has `true`. It commits once a second what was
/// stored, which is what was settled.
pub(crate) fn member(
    settings: &Settings,
) -> Result<(StreamConsumer<Member>, watch::Receiver<bool>), ChainError> {
    let mut client = fetching(settings);
    client
        .set("group.id", settings.group())
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "1500")
        .set("enable.auto.commit", "true")
        .set("auto.commit.interval.ms", "1000");
    let (assigned, receiver) = watch::channel(false);
    let consumer: KafkaResult<StreamConsumer<Member>> = client.create_with_context(Member { assigned });
    let consumer = consumer.map_err(ChainError::kafka("creating the consumer"))?;
    let subscribed = consumer.subscribe(&[settings.commands_topic().as_str()]);
    subscribed.map_err(ChainError::kafka("subscribing to the commands"))?;
    Ok((consumer, receiver))
}

/// The reader of all outcomes, outside of every group. The topic is new, so it reads from the beginning.
pub(crate) fn outsider(settings: &Settings) -> Result<StreamConsumer, ChainError> {
    let mut client = fetching(settings);
    client.set("group.id", format!("{}.outside", settings.name)).set("enable.auto.commit", "false");
    let consumer: KafkaResult<StreamConsumer> = client.create();
    let consumer = consumer.map_err(ChainError::kafka("creating the reader of the outcomes"))?;
    let (topic, mut partitions) = (settings.outcomes_topic(), TopicPartitionList::new());
    for partition in 0..PARTITIONS {
        let added = partitions.add_partition_offset(&topic, partition, Offset::Beginning);
        added.map_err(ChainError::kafka("listing the partitions of the outcomes"))?;
    }
    consumer.assign(&partitions).map_err(ChainError::kafka("assigning the outcomes"))?;
    Ok(consumer)
}

/// Publishes a record and waits for its acknowledgement.
pub(crate) async fn publish(
    producer: &FutureProducer,
    topic: &str,
    key: &str,
    value: &[u8],
) -> Result<(), ChainError> {
    let record = FutureRecord::to(topic).key(key).payload(value);
    let sent = producer.send(record, QUEUE_FULL_TIMEOUT).await;
    sent.map(drop).map_err(|(source, _record)| ChainError::kafka(PUBLISHING)(source))
}

/// Publishes a record after all that were published before. The result completes with its acknowledgement.
pub(crate) fn enqueue(
    producer: &FutureProducer,
    topic: &str,
    key: &str,
    value: &[u8],
) -> Result<DeliveryFuture, ChainError> {
    let record = FutureRecord::to(topic).key(key).payload(value);
    producer.send_result(record).map_err(|(source, _record)| ChainError::kafka(PUBLISHING)(source))
}

/// Waits for the acknowledgement of a record.
pub(crate) async fn acknowledged(delivery: DeliveryFuture) -> Result<(), ChainError> {
    // Without a result the producer has ended.
    let delivered = delivery.await.map_err(|_ended| ChainError::kafka(PUBLISHING)(KafkaError::Canceled))?;
    delivered.map(drop).map_err(|(source, _record)| ChainError::kafka(PUBLISHING)(source))
}

/// The record, or `None` for an error from which librdkafka recovers by itself.
pub(crate) fn readable(
    record: KafkaResult<BorrowedMessage<'_>>,
) -> Result<Option<BorrowedMessage<'_>>, ChainError> {
    match record {
        Ok(record) => Ok(Some(record)),
        Err(source @ KafkaError::MessageConsumptionFatal(_)) => {
            Err(ChainError::Kafka { doing: "reading records", source })
        }
        Err(_) => Ok(None),
    }
}
