//! Handler of every counted event: one insert under its `ce_id`.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};

use crate::document::FactDocument;
use crate::domain::active::ActivePlayers;
use crate::domain::fact::{Fact, Incomplete};
use crate::error::AnalyticsError;
use crate::report;
use crate::rollups::Rollups;

/// Handles every counted type.
#[derive(Debug)]
pub(crate) struct OnFact {
    rollups: Arc<Rollups>,
    active: Arc<Mutex<ActivePlayers>>,
}

impl OnFact {
    pub(crate) fn new(rollups: Arc<Rollups>, active: Arc<Mutex<ActivePlayers>>) -> Self {
        Self { rollups, active }
    }
}

#[async_trait]
impl Handle for OnFact {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let event = &delivery.event;
        let at_ms =
            i64::try_from(event.time.unix_timestamp_nanos().div_euclid(1_000_000)).unwrap_or_default();
        let fact = match Fact::of(&event.message, at_ms) {
            Ok(Some(fact)) => fact,
            Ok(None) => return Ok(Outcome::Duplicate),
            Err(Incomplete { field }) => return Err(AnalyticsError::Incomplete { field }.into()),
        };
        let document = FactDocument::new(event.id.as_str(), &fact);
        if !self.rollups.add(&document, &fact.bucket()).await? {
            return Ok(Outcome::Duplicate);
        }
        self.active.lock().unwrap_or_else(PoisonError::into_inner).seen(&fact.player_id, at_ms);
        report::counted(&event.message, &fact);
        Ok(Outcome::Applied)
    }
}
