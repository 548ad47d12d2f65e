//! librdkafka's producer, and the thread that hands its acknowledgements to those who wait for them.
//!
//! `rdkafka::FutureProducer` is not used: its thread polls for 100 ms at a time, and the end of each such poll, when less than
//! a millisecond is left, is a spin. That is one per cent of a core for every idle producer; ours polls ten times longer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use tokio::sync::oneshot;

use super::Published;
use crate::clients::Logged;

/// An acknowledgement ends a poll's wait at once; so long at most the thread waits for one more after its producer was dropped,
/// before it gives up what is unanswered and closes the client: blocking work that belongs on no worker.
const POLL: Duration = Duration::from_secs(1);
/// How soon a full queue is looked at again.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(10);

type Waiter = oneshot::Sender<KafkaResult<Published>>;
type Record<'a> = BaseRecord<'a, [u8], [u8], Box<Waiter>>;

/// What is sent, once encoded: borrowed, because a publish may be tried again by the caller.
pub(super) struct Outgoing<'a> {
    pub(super) topic: &'a str,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: OwnedHeaders,
}

/// The client; clones share it, and the last one ends its thread.
#[derive(Clone)]
pub(super) struct Client {
    inner: Arc<Polled>,
}

/// Dropped in this order: when the thread hears that it is over, it has the last handle of the producer.
struct Polled {
    producer: Arc<BaseProducer<Delivery>>,
    _ends: EndOnDrop,
}

struct EndOnDrop(Arc<AtomicBool>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Logs as every client does, and tells each waiter what became of its record.
struct Delivery(Logged);

impl ClientContext for Delivery {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(error, reason);
    }
}

impl ProducerContext for Delivery {
    type DeliveryOpaque = Box<Waiter>;

    fn delivery(&self, result: &DeliveryResult<'_>, waiter: Box<Waiter>) {
        let told = match result {
            Ok(record) => Ok(Published { partition: record.partition(), offset: record.offset() }),
            Err((error, _)) => Err(error.clone()),
        };
        // nobody waits for a publish whose caller was cancelled
        drop(waiter.send(told));
    }
}

impl Client {
    /// Connects in the background.
    pub(super) fn new(config: &ClientConfig) -> KafkaResult<Self> {
        let producer: Arc<BaseProducer<Delivery>> = Arc::new(config.create_with_context(Delivery(Logged))?);
        let is_over = Arc::new(AtomicBool::new(false));
        let (polled, until) = (Arc::clone(&producer), Arc::clone(&is_over));
        let poll = move || {
            while !until.load(Ordering::Acquire) {
                polled.poll(POLL);
            }
        };
        std::thread::Builder::new()
            .name("kafka-delivery".to_owned())
            .spawn(poll)
            .map_err(|error| KafkaError::ClientCreation(format!("its thread does not start: {error}")))?;
        Ok(Self { inner: Arc::new(Polled { producer, _ends: EndOnDrop(is_over) }) })
    }

    /// Hands a record to librdkafka and waits for the brokers' answer; for room in the queue at most `queue_full_timeout`.
    pub(super) async fn send(
        &self,
        outgoing: Outgoing<'_>,
        queue_full_timeout: Duration,
    ) -> KafkaResult<Published> {
        let (waiter, told) = oneshot::channel();
        let mut record: Record<'_> =
            BaseRecord::with_opaque_to(outgoing.topic, Box::new(waiter)).headers(outgoing.headers);
        record.key = outgoing.key;
        record.payload = outgoing.value;
        let give_up_at = Instant::now() + queue_full_timeout;
        loop {
            record = match self.inner.producer.send(record) {
                Ok(()) => break,
                Err((error, record)) if is_full(&error) && Instant::now() < give_up_at => record,
                Err((error, _)) => return Err(error),
            };
            tokio::time::sleep(QUEUE_FULL_PAUSE).await;
        }
        // the waiter is only dropped unanswered with the whole client, which this call keeps alive
        told.await.unwrap_or(Err(KafkaError::Canceled))
    }

    /// Blocks until all that was sent is answered, at most for `deadline`.
    pub(super) fn flush(&self, deadline: Duration) -> KafkaResult<()> {
        self.inner.producer.flush(deadline)
    }
}

/// A client that is made when it is first needed: most processes never park a record.
pub(super) struct Lazy {
    config: ClientConfig,
    client: OnceLock<Client>,
}

impl Lazy {
    pub(super) fn new(config: ClientConfig) -> Self {
        Self { config, client: OnceLock::new() }
    }

    /// The client; made now, where there is none. Of two that are made at once one stays.
    pub(super) fn get_or_make(&self) -> KafkaResult<&Client> {
        match self.client.get() {
            Some(client) => Ok(client),
            None => {
                let made = Client::new(&self.config)?;
                Ok(self.client.get_or_init(|| made))
            }
        }
    }

    /// The client, where there is one.
    pub(super) fn get(&self) -> Option<&Client> {
        self.client.get()
    }
}

fn is_full(error: &KafkaError) -> bool {
    matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of brokers that nobody runs.
    fn unreachable() -> Client {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", "127.0.0.1:9").set("queue.buffering.max.messages", "1");
        Client::new(&config).unwrap()
    }

    fn record() -> Outgoing<'static> {
        Outgoing { topic: "t", key: None, value: Some(b"v"), headers: OwnedHeaders::new() }
    }

    #[tokio::test]
    async fn a_full_queue_is_an_error_in_time_and_a_cancelled_publish_harms_nobody() {
        let client = unreachable();
        let first =
            tokio::time::timeout(Duration::from_millis(50), client.send(record(), Duration::ZERO)).await;
        assert!(first.is_err(), "there is nobody to acknowledge it: {first:?}");
        let second = client.send(record(), Duration::from_millis(20)).await;
        assert!(is_full(&second.unwrap_err()));
        // the first one is answered at the end, and its caller is gone
        drop(client);
    }

    #[test]
    fn the_thread_ends_with_the_last_clone() {
        let client = unreachable();
        let producer = Arc::downgrade(&client.inner.producer);
        let second = client.clone();
        drop(client);
        assert!(producer.strong_count() > 0);
        drop(second);
        let until = Instant::now() + Duration::from_secs(30);
        while producer.strong_count() > 0 {
            assert!(Instant::now() < until, "the thread still has the client");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
