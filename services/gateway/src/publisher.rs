//! Publishing of commands, as a trait so that tests can replace the broker.

use async_trait::async_trait;
use bus::PublishError;
use contracts::Event;

/// Publishes commands.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Publishes one command. Returns `Ok` when the broker has acknowledged it.
    async fn publish(&self, command: &Event) -> Result<(), PublishError>;
}

#[async_trait]
impl Publisher for bus::Producer {
    async fn publish(&self, command: &Event) -> Result<(), PublishError> {
        Self::publish(self, command).await.map(drop)
    }
}
