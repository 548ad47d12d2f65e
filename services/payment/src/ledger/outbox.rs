//! Where decisions go out: the broker, and the list of what the provider has to be asked.

use async_trait::async_trait;
use bus::{Producer, PublishError, RawRecord};
use store::StoreError;

use super::Entry;

/// Publishes, awaited: `Ok` means acknowledged, and nothing else does.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Publishes one record.
    async fn publish(&self, record: &RawRecord) -> Result<(), PublishError>;
}

#[async_trait]
impl Outbox for Producer {
    async fn publish(&self, record: &RawRecord) -> Result<(), PublishError> {
        self.publish_raw(record).await.map(drop)
    }
}

/// Keeps what the provider has to be asked, before it is asked, until it has ended.
#[async_trait]
pub trait Payments: Send + Sync {
    /// Makes sure that the payment of this decision is on the list; again and again changes nothing.
    async fn ensure(&self, player_id: &str, entry: &Entry) -> Result<(), StoreError>;

    /// Whether a report that says `captured` may settle the payment. Admitted once, it is admitted always, and nobody begins
    /// to ask the provider any more.
    async fn admit(&self, payment_id: &str, captured: bool) -> Result<Admission, StoreError>;

    /// The ledger has settled the payment: nobody asks about it any more. Again and again changes nothing.
    async fn end(&self, payment_id: &str, captured: Option<bool>) -> Result<(), StoreError>;
}

/// What a report may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It settles the payment.
    Admitted,
    /// It does not.
    Refused(Refusal),
    /// The list does not say; ask again.
    Unknown,
}

/// Why a report does not settle a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Money may have moved, or may yet, and the provider has not told.
    #[error("the provider was asked for this payment: only its own word settles it, and it is asked again")]
    Asked,
    /// The same, of a report that nothing moved.
    #[error(
        "the provider was asked for this payment: it is asked to void it now, and its own word will settle it"
    )]
    AskedToVoid,
    /// Another end is recorded.
    #[error("another end of this payment is recorded")]
    OtherWord,
}
