//! Destinations of decisions: the broker, and the list of payments for the provider.

use async_trait::async_trait;
use bus::{Producer, PublishError, RawRecord};
use store::StoreError;

use super::Entry;

/// Publisher of events. Only `Ok` means acknowledged.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Publishes one record and waits for its acknowledgement.
    async fn publish(&self, record: &RawRecord) -> Result<(), PublishError>;
}

#[async_trait]
impl Outbox for Producer {
    async fn publish(&self, record: &RawRecord) -> Result<(), PublishError> {
        self.publish_raw(record).await.map(drop)
    }
}

/// List of payments for the provider. A payment is on it from before the first request to the provider until it is settled.
#[async_trait]
pub trait Payments: Send + Sync {
    /// Makes sure that the payment of this decision is on the list. Repeating the call changes nothing.
    async fn ensure(&self, player_id: &str, entry: &Entry) -> Result<(), StoreError>;

    /// Decides whether a report with the outcome `captured` may settle the payment. An admission is permanent, and no pool sends
    /// the provider a first request after it.
    async fn admit(&self, payment_id: &str, captured: bool) -> Result<Admission, StoreError>;

    /// Marks the payment as settled, so that no pool sends requests about it any more. Repeating the call changes nothing.
    async fn mark_settled(&self, payment_id: &str, captured: Option<bool>) -> Result<(), StoreError>;
}

/// Result of [`Payments::admit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// The report settles the payment.
    Admitted,
    /// The report does not settle the payment.
    Refused(Refusal),
    /// The list has no answer yet, so the caller retries.
    Unknown,
}

/// Reason why a report does not settle a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The money may have moved or may still move, and the provider has not answered.
    #[error("the payment was sent to the provider, so only its answer settles it: it is requested again")]
    SentToProvider,
    /// The same, for a report that the money did not move. The provider is asked to void the payment now.
    #[error("the payment was sent to the provider, so only its answer settles it: a void is requested now")]
    VoidRequested,
    /// Another outcome is recorded.
    #[error("another outcome of this payment is recorded")]
    OtherOutcome,
}
