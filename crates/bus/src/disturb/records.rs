//! Publishes records as a foreign producer would: with these headers, in this order, and without a span.

use std::time::Duration;

use futures::future::try_join_all;
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::clients::{self, Quiet};
use crate::config::Config;
use crate::error::ClientError;
use crate::names::Names;
use crate::record::{RawRecord, to_native};

/// Maximum wait for space in the producer's queue.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum number of records that are sent and not acknowledged yet.
const IN_FLIGHT_MAX: usize = 256;

pub(super) async fn publish(config: &Config, records: &[RawRecord]) -> Result<u64, ClientError> {
    // Its polling costs too much for a service, but this client lives for a moment only.
    let producer: FutureProducer<Quiet> = clients::producer(config)
        .create_with_context(Quiet)
        .map_err(ClientError::kafka("creating a producer"))?;
    let names = config.names();
    let mut acknowledged: u64 = 0;
    for some in records.chunks(IN_FLIGHT_MAX) {
        // They are queued in their order, because each future is polled for the first time in that order.
        try_join_all(some.iter().map(|record| send(&producer, &names, record))).await?;
        acknowledged = acknowledged.saturating_add(some.len() as u64);
    }
    Ok(acknowledged)
}

async fn send(
    producer: &FutureProducer<Quiet>,
    names: &Names,
    record: &RawRecord,
) -> Result<(), ClientError> {
    let topic = names.physical(&record.topic);
    let mut outgoing: FutureRecord<'_, [u8], [u8]> =
        FutureRecord::to(&topic).payload(record.value.as_ref()).headers(to_native(&record.headers));
    if let Some(key) = &record.key {
        outgoing = outgoing.key(key.as_ref());
    }
    let sent = producer.send(outgoing, QUEUE_TIMEOUT).await;
    sent.map(drop).map_err(|(error, _)| ClientError::Kafka { doing: "publishing a record", source: error })
}
