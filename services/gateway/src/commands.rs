//! The way out for commands. A trait, so that a test can stand in for the broker.

use async_trait::async_trait;
use bus::PublishError;
use contracts::Event;

/// Publishes commands; `Ok` means that the broker has acknowledged.
#[async_trait]
pub trait Commands: Send + Sync {
    /// Publishes one command and waits until it is safe.
    async fn publish(&self, command: &Event) -> Result<(), PublishError>;
}

#[async_trait]
impl Commands for bus::Producer {
    async fn publish(&self, command: &Event) -> Result<(), PublishError> {
        Self::publish(self, command).await.map(drop)
    }
}
