//! What the provider said becomes a command of ours. Its answer and its webhook make the same one.

use bus::{Producer, PublishError};
use contracts::ids::{self, IdError};
use contracts::proto::payments::v1::ProviderReported;
use contracts::{Classify, ErrorClass, Event, EventId, Message, ProviderOutcome};
use time::OffsetDateTime;

use super::client::Answer;
use super::intents::Intent;

/// The report could not be published.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The broker; its outcome may be unknown, so it is published again.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The payment's id is none.
    #[error("the payment's id {0}")]
    Id(#[from] IdError),
    /// The provider's reference is nothing that we can say.
    #[error("the provider's reference is not acceptable")]
    Reference,
}

impl Classify for ReportError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Publish(error) => error.class(),
            Self::Id(_) | Self::Reference => ErrorClass::Poison,
        }
    }
}

/// The command that tells the ledger how a payment ended.
///
/// # Errors
/// When the provider's words do not fit our contract.
pub fn event(intent: &Intent, answer: &Answer) -> Result<Event, ReportError> {
    let payment_id: EventId = intent.payment_id.parse()?;
    let outcome = if answer.captured { ProviderOutcome::Captured } else { ProviderOutcome::Declined };
    let message = Message::from(ProviderReported {
        payment_id: intent.payment_id.clone(),
        player_id: intent.player_id.clone(),
        outcome: outcome.into(),
        provider_reference: answer.reference.clone(),
        amount: Some(intent.amount().into()),
    });
    message.validate().map_err(|_| ReportError::Reference)?;
    Ok(Event {
        id: ids::provider_reported_id(&payment_id),
        source: "payment".to_owned(),
        time: OffsetDateTime::now_utc(),
        causation_id: Some(payment_id),
        request_hash: Some(ids::request_hash(&message)),
        message,
    })
}

/// Publishes the report and waits for its acknowledgement.
///
/// # Errors
/// See [`ReportError`].
pub async fn publish(producer: &Producer, intent: &Intent, answer: &Answer) -> Result<(), ReportError> {
    producer.publish(&event(intent, answer)?).await?;
    Ok(())
}
