//! A transactional producer of another program. Ours has no transactions.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rdkafka::error::KafkaResult;
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::{ClientConfig, ClientContext};

/// Time limit for each request to the broker.
const DEADLINE: Duration = Duration::from_secs(30);
/// Time after which the broker aborts a transaction that its producer does not end, because the process of the test was killed. It
/// is longer than the test may wait while the transaction is open, and within the broker's limit of 15 minutes.
const TRANSACTION_TIMEOUT_MS: u32 = 300_000;
/// The value of the record. No Pitboss consumer could read it.
const VALUE: &[u8] = b"a record of another producer";
/// Offset of a record that the broker has not acknowledged.
const NONE: i64 = -1;

/// Keeps the offset at which the broker stored the record.
struct Stored(AtomicI64);

impl ClientContext for Stored {}

impl ProducerContext for Stored {
    type DeliveryOpaque = ();

    fn delivery(&self, delivered: &DeliveryResult<'_>, (): ()) {
        if let Ok(message) = delivered {
            self.0.store(message.offset(), Ordering::SeqCst);
        }
    }
}

/// An open transaction with one record. It is aborted when it is dropped. All functions block.
pub(super) struct ForeignTransaction {
    producer: BaseProducer<Stored>,
    is_open: bool,
}

impl ForeignTransaction {
    /// Begins a transaction at the broker on this port, and writes one record to a partition.
    ///
    /// # Errors
    /// When the broker does not answer in time, or refuses a request.
    pub(super) fn begin(port: u16, topic: &str, partition: i32) -> KafkaResult<Self> {
        let producer: BaseProducer<Stored> = ClientConfig::new()
            .set("bootstrap.servers", format!("127.0.0.1:{port}"))
            .set("transactional.id", testkit::unique("foreign"))
            .set("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS.to_string())
            .create_with_context(Stored(AtomicI64::new(NONE)))?;
        producer.init_transactions(DEADLINE)?;
        producer.begin_transaction()?;
        let transaction = Self { producer, is_open: true };
        let record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition).payload(VALUE);
        transaction.producer.send(record).map_err(|(error, _)| error)?;
        transaction.producer.flush(DEADLINE)?;
        assert_ne!(transaction.first_offset(), NONE, "the broker has not stored the record");
        Ok(transaction)
    }

    /// Returns the offset of the record.
    pub(super) fn first_offset(&self) -> i64 {
        self.producer.context().0.load(Ordering::SeqCst)
    }

    /// Aborts the transaction, so that no consumer gets its record. The partition shows it a moment later.
    ///
    /// # Errors
    /// When the broker does not answer in time, or refuses the request.
    pub(super) fn abort(mut self) -> KafkaResult<()> {
        self.is_open = false;
        self.producer.abort_transaction(DEADLINE)
    }
}

impl Drop for ForeignTransaction {
    /// A transaction that outlives a failed test would hold back records of later tests.
    fn drop(&mut self) {
        if self.is_open {
            drop(self.producer.abort_transaction(DEADLINE));
        }
    }
}
