//! Publishes records as a foreign producer would: with these headers, in this order, and without a span.

use std::time::Duration;

use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::clients::{self, Quiet};
use crate::config::Config;
use crate::error::ClientError;
use crate::record::{RawRecord, to_native};

/// Maximum wait for space in the producer's queue.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) async fn publish(config: &Config, records: &[RawRecord]) -> Result<u64, ClientError> {
    // Its polling costs too much for a service, but this client lives for a moment only.
    let producer: FutureProducer<Quiet> = clients::producer(config)
        .create_with_context(Quiet)
        .map_err(ClientError::kafka("creating a producer"))?;
    let names = config.names();
    let mut acknowledged: u64 = 0;
    for record in records {
        let topic = names.physical(&record.topic);
        let mut outgoing: FutureRecord<'_, [u8], [u8]> =
            FutureRecord::to(&topic).payload(record.value.as_ref()).headers(to_native(&record.headers));
        if let Some(key) = &record.key {
            outgoing = outgoing.key(key.as_ref());
        }
        let sent = producer.send(outgoing, QUEUE_TIMEOUT).await;
        sent.map_err(|(error, _)| ClientError::Kafka { doing: "publishing a record", source: error })?;
        acknowledged = acknowledged.saturating_add(1);
    }
    Ok(acknowledged)
}
