//! Handler of `PreferencesChanged`: stores whether this player wants e-mails. The newest statement counts.

use std::sync::Arc;

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::Message;
use store::bson::DateTime;

use super::Desk;
use crate::error::NotificationError;

/// Handles `PreferencesChanged`.
pub(crate) struct OnPreferencesChanged(pub(crate) Arc<Desk>);

#[async_trait]
impl Handle for OnPreferencesChanged {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let Message::PreferencesChanged(wish) = &delivery.event.message else {
            return Err(NotificationError::WrongType(delivery.event.message.event_type().as_str()).into());
        };
        let millis = delivery.event.time.unix_timestamp_nanos().div_euclid(1_000_000);
        let at = DateTime::from_millis(i64::try_from(millis).unwrap_or_default());
        self.0.contacts.prefer(&wish.player_id, wish.email_enabled, at).await?;
        Ok(Outcome::Applied)
    }
}
