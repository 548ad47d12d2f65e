//! Reports: commands to the ledger made from the provider's recorded answers. An answer and a webhook make the same one.

use bus::{Producer, PublishError};
use contracts::ids::{self, IdError};
use contracts::proto::payments::v1::ProviderReported;
use contracts::{Classify, ErrorClass, Event, EventId, FieldError, Message, ProviderOutcome};
use time::OffsetDateTime;

use super::intent::Intent;

/// Reason why a report could not be published.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Error of the broker. The outcome may be unknown, so the report is published again.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The payment's id is invalid.
    #[error("the payment's id is invalid: it {0}")]
    Id(#[from] IdError),
    /// The payment or the provider's answer does not fit the contract.
    #[error("the report does not fit the contract")]
    Contract(#[from] FieldError),
    /// No answer of the provider is recorded.
    #[error("no answer of the provider is recorded")]
    NoAnswer,
}

impl Classify for ReportError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Publish(error) => error.class(),
            Self::Id(_) | Self::Contract(_) | Self::NoAnswer => ErrorClass::Poison,
        }
    }
}

/// Returns the command that reports the outcome to the ledger. All but its time depends only on what is recorded.
///
/// # Errors
/// When no answer is recorded, or it does not fit the contract.
pub fn event(intent: &Intent) -> Result<Event, ReportError> {
    let payment_id: EventId = intent.payment_id.parse()?;
    let captured = intent.captured.ok_or(ReportError::NoAnswer)?;
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
        source: "/pitboss/payment".to_owned(),
        time: OffsetDateTime::now_utc(),
        causation_id: Some(payment_id),
        request_hash: Some(ids::request_hash(&message)),
        message,
        sent_at_ms: None,
    })
}

/// Publishes the report and waits for its acknowledgement.
pub async fn publish(producer: &Producer, intent: &Intent) -> Result<(), ReportError> {
    producer.publish(&event(intent)?).await?;
    Ok(())
}
