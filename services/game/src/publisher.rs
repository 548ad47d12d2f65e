//! Publishing of the events of a bet.

use bus::Producer;
use contracts::Event;

use crate::error::GameError;

/// Publishes events in their order, each after the acknowledgement of the one before.
///
/// After an error or a crash, the same record or the sweeper publishes all of them again. Events that had been published are
/// repeated with the same bytes, and the others follow.
pub(crate) async fn publish_all(producer: &Producer, events: &[Event]) -> Result<(), GameError> {
    for event in events {
        producer.publish(event).await?;
    }
    Ok(())
}
