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

/// Keeps what the provider has to be asked, before it is asked.
#[async_trait]
pub trait Payments: Send + Sync {
    /// Makes sure that the payment of this decision is on the list; again and again changes nothing.
    async fn ensure(&self, player_id: &str, entry: &Entry) -> Result<(), StoreError>;
}
