//! Publishing of commands, as a trait so that tests can replace the broker.

use async_trait::async_trait;
use bus::PublishError;
use contracts::Event;

/// Publishes commands.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Publishes one command. Returns `Ok` when the broker has acknowledged it.
    async fn publish(&self, command: &Event) -> Result<(), PublishError>;

    /// Publishes one command with a send time that is wrong by `offset_ms`.
    async fn publish_with_skew(&self, command: &Event, offset_ms: i64) -> Result<(), PublishError>;
}

#[async_trait]
impl Publisher for bus::Producer {
    async fn publish(&self, command: &Event) -> Result<(), PublishError> {
        Self::publish(self, command).await.map(drop)
    }

    async fn publish_with_skew(&self, command: &Event, offset_ms: i64) -> Result<(), PublishError> {
        Self::publish_with_skew(self, command, offset_ms).await.map(drop)
    }
}
