//! What the provider said, once recorded, becomes a command of ours. Its answer and its webhook make the same one.

use bus::{Producer, PublishError};
use contracts::ids::{self, IdError};
use contracts::proto::payments::v1::ProviderReported;
use contracts::{Classify, ErrorClass, Event, EventId, FieldError, Message, ProviderOutcome};
use time::OffsetDateTime;

use super::intent::Intent;

/// The report could not be published.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The broker; its outcome may be unknown, so it is published again.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The payment's id is none.
    #[error("the payment's id {0}")]
    Id(#[from] IdError),
    /// The payment, or what the provider says of it, is nothing that our contract can say.
    #[error("the report does not fit the contract")]
    Contract(#[from] FieldError),
    /// The provider's word is not recorded.
    #[error("nothing is recorded to report")]
    Nothing,
}

impl Classify for ReportError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Publish(error) => error.class(),
            Self::Id(_) | Self::Contract(_) | Self::Nothing => ErrorClass::Poison,
        }
    }
}

/// The command that tells the ledger how a payment ended: a function of what is recorded, so always the same.
///
/// # Errors
/// When what is recorded does not fit our contract.
pub fn event(intent: &Intent) -> Result<Event, ReportError> {
    let payment_id: EventId = intent.payment_id.parse()?;
    let captured = intent.captured.ok_or(ReportError::Nothing)?;
    let outcome = if captured { ProviderOutcome::Captured } else { ProviderOutcome::Declined };
    let message = Message::from(ProviderReported {
        payment_id: intent.payment_id.clone(),
        player_id: intent.player_id.clone(),
        outcome: outcome.into(),
        provider_reference: intent.provider_reference.clone().unwrap_or_default(),
        amount: Some(intent.amount().into()),
    });
    message.validate()?;
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
pub async fn publish(producer: &Producer, intent: &Intent) -> Result<(), ReportError> {
    producer.publish(&event(intent)?).await?;
    Ok(())
}
