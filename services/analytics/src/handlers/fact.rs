//! Handler of every counted event: one insert under its `ce_id`.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bus::{Delivery, HandleAny, HandlerError, Outcome};

use crate::document::FactDocument;
use crate::domain::active::ActivePlayers;
use crate::domain::fact::Fact;
use crate::report;
use crate::rollups::Rollups;

/// Handles every counted type.
#[derive(Debug)]
pub(crate) struct OnFact {
    pub(crate) rollups: Arc<Rollups>,
    pub(crate) active: Arc<Mutex<ActivePlayers>>,
}

#[async_trait]
impl HandleAny for OnFact {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let event = &delivery.event;
        let at_ms = store::time::to_bson(event.time).timestamp_millis();
        let Some(fact) = Fact::of(&event.message, at_ms)? else { return Ok(Outcome::Duplicate) };
        let document = FactDocument::new(event.id.as_str(), &fact);
        if !self.rollups.add(&document, &fact.bucket()).await? {
            return Ok(Outcome::Duplicate);
        }
        self.active.lock().unwrap_or_else(PoisonError::into_inner).record(&fact.player_id, at_ms);
        report::count(&event.message, &fact);
        Ok(Outcome::Applied)
    }
}
