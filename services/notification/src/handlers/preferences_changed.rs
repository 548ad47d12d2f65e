//! Handler of `PreferencesChanged`: stores whether this player wants e-mails. The newest change counts.

use std::sync::Arc;

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::proto::players::v1::PreferencesChanged;

use super::Context;

/// Handles `PreferencesChanged`.
pub(super) struct OnPreferencesChanged(pub(super) Arc<Context>);

#[async_trait]
impl Handle<PreferencesChanged> for OnPreferencesChanged {
    async fn handle(&self, event: &PreferencesChanged, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let at = store::time::to_bson(delivery.event.time);
        self.0.contacts.prefer(&event.player_id, event.email_enabled, at).await?;
        Ok(Outcome::Applied)
    }
}
