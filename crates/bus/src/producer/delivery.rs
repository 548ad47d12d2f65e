//! librdkafka's producer, and the thread that passes each acknowledgement to its waiting caller.
//!
//! `rdkafka::FutureProducer` is not used because its thread polls for only 100 ms at a time. Each such poll ends in a busy loop
//! when less than a millisecond is left, which costs an idle producer one per cent of a core. This thread polls fifty times longer,
//! and an idle one has no such rest.

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
use super::retries::Retries;
use crate::clients::Logged;

/// Time-out of one poll. An acknowledgement is handled at once. After its producer was dropped, the thread finishes the poll,
/// drops unanswered records and closes the client. That blocks, so it must not happen on an async worker.
///
/// rdkafka rounds what is left of a poll down to whole milliseconds and polls without waiting in the last one. The tenth of a
/// millisecond makes an idle poll wait for all of its seconds, after which nothing is left.
const POLL: Duration = Duration::from_micros(5_000_100);
/// Pause before the next attempt when the queue is full.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(10);

type Waiter = oneshot::Sender<KafkaResult<Published>>;
type Record<'a> = BaseRecord<'a, [u8], [u8], Box<Waiter>>;

/// Encoded record to send. It borrows, because the caller may retry a publish.
pub(super) struct Outgoing<'a> {
    pub(super) topic: &'a str,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: OwnedHeaders,
}

/// The client. Clones share it, and the last one ends its thread.
#[derive(Clone)]
pub(super) struct Client {
    inner: Arc<Polled>,
}

/// The fields are dropped in this order, so the thread holds the last handle of the producer when it sees the stop flag.
struct Polled {
    producer: Arc<BaseProducer<Delivery>>,
    _stop: StopOnDrop,
    retries: Option<Arc<Retries>>,
}

struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Logs like every client, notes repetitions where they are shown, and sends each waiting caller the result of its record.
struct Delivery {
    logged: Logged,
    retries: Option<Arc<Retries>>,
}

impl ClientContext for Delivery {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if let Some(retries) = &self.retries {
            retries.read(facility, message);
        }
        self.logged.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.logged.error(error, reason);
    }
}

impl ProducerContext for Delivery {
    type DeliveryOpaque = Box<Waiter>;

    fn delivery(&self, result: &DeliveryResult<'_>, waiter: Box<Waiter>) {
        let result = match result {
            Ok(record) => Ok(Published { partition: record.partition(), offset: record.offset() }),
            Err((error, _)) => Err(error.clone()),
        };
        // A send fails only if the publish's caller was cancelled
        drop(waiter.send(result));
    }
}

impl Client {
    /// Creates a client. It connects in the background.
    pub(super) fn new(config: &ClientConfig) -> KafkaResult<Self> {
        // Without the debug context librdkafka does not log them
        let retries = config.get("debug").map(|_| Arc::<Retries>::default());
        let delivery = Delivery { logged: Logged, retries: retries.clone() };
        let producer: Arc<BaseProducer<Delivery>> = Arc::new(config.create_with_context(delivery)?);
        let must_stop = Arc::new(AtomicBool::new(false));
        let (polled, stop) = (Arc::clone(&producer), Arc::clone(&must_stop));
        let poll = move || {
            while !stop.load(Ordering::Acquire) {
                polled.poll(POLL);
            }
        };
        std::thread::Builder::new().name("kafka-delivery".to_owned()).spawn(poll).map_err(|error| {
            KafkaError::ClientCreation(format!("the delivery thread did not start: {error}"))
        })?;
        Ok(Self { inner: Arc::new(Polled { producer, _stop: StopOnDrop(must_stop), retries }) })
    }

    /// Sends a record and waits for the brokers' answer. Waits at most `queue_full_timeout` for space in the queue.
    pub(super) async fn send(
        &self,
        outgoing: Outgoing<'_>,
        queue_full_timeout: Duration,
    ) -> KafkaResult<Published> {
        let (waiter, result) = oneshot::channel();
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
        // The waiter is dropped unanswered only with the whole client, which this call keeps alive
        result.await.unwrap_or(Err(KafkaError::Canceled))
    }

    /// Returns how often records of the partition were sent again since that time. 0 where repetitions are not shown.
    pub(super) fn retries_since(&self, since: Instant, topic: &str, partition: i32) -> usize {
        let retries = self.inner.retries.as_deref();
        retries.map_or(0, |retries| retries.count_since(since, topic, partition))
    }

    /// Blocks until every sent record is answered, at most for `deadline`.
    pub(super) fn flush(&self, deadline: Duration) -> KafkaResult<()> {
        self.inner.producer.flush(deadline)
    }
}

/// A client that is created on first use, because most processes never write a dead letter.
pub(super) struct Lazy {
    config: ClientConfig,
    client: OnceLock<Client>,
}

impl Lazy {
    pub(super) fn new(config: ClientConfig) -> Self {
        Self { config, client: OnceLock::new() }
    }

    /// Returns the client, and creates it on first use. Of two concurrent creations, one stays.
    pub(super) fn get_or_create(&self) -> KafkaResult<&Client> {
        match self.client.get() {
            Some(client) => Ok(client),
            None => {
                let created = Client::new(&self.config)?;
                Ok(self.client.get_or_init(|| created))
            }
        }
    }

    /// Returns the client, if it was created.
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

    /// Returns a client whose broker does not exist.
    fn unreachable() -> Client {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", "127.0.0.1:9").set("queue.buffering.max.messages", "1");
        Client::new(&config).unwrap()
    }

    fn record() -> Outgoing<'static> {
        Outgoing { topic: "t", key: None, value: Some(b"v"), headers: OwnedHeaders::new() }
    }

    #[tokio::test]
    async fn full_queue_fails_in_time() {
        let client = unreachable();
        let first =
            tokio::time::timeout(Duration::from_millis(50), client.send(record(), Duration::ZERO)).await;
        assert!(first.is_err(), "no broker can acknowledge it: {first:?}");
        let second = client.send(record(), Duration::from_millis(20)).await;
        assert!(is_full(&second.unwrap_err()));
        // The first record is answered only here, when its caller is gone
        drop(client);
    }

    #[test]
    fn thread_ends_with_the_last_clone() {
        let client = unreachable();
        let producer = Arc::downgrade(&client.inner.producer);
        let second = client.clone();
        drop(client);
        assert!(producer.strong_count() > 0);
        drop(second);
        let until = Instant::now() + Duration::from_secs(30);
        while producer.strong_count() > 0 {
            assert!(Instant::now() < until, "the thread still holds the client");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
