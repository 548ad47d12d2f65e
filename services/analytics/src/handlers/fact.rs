//! Handler of every counted event: one insert under its `ce_id`.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bus::{Delivery, HandleAny, HandlerError, Outcome};
use contracts::Event;
use faults::{FaultId, Faults};
use store::StoreError;

use super::item::FanOut;
use crate::document::FactDocument;
use crate::domain::active::ActivePlayers;
use crate::domain::fact::{Fact, Kind};
use crate::facts::Facts;
use crate::report;
use crate::rollups::Rollups;

/// Handles every counted type.
pub(super) struct OnFact {
    pub(super) rollups: Arc<Rollups>,
    pub(super) active: Arc<Mutex<ActivePlayers>>,
    pub(super) facts: Facts,
    pub(super) faults: Faults,
    pub(super) fan_out: FanOut,
}

#[async_trait]
impl HandleAny for OnFact {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let event = &delivery.event;
        let at_ms = store::time::to_bson(event.time).timestamp_millis();
        let Some(fact) = Fact::of(&event.message, at_ms)? else { return Ok(Outcome::Duplicate) };
        #[cfg(feature = "regression")]
        if fact.kind == Kind::BetSettled {
            let payout = crate::regression::narrowed(fact.out_minor);
            tracing::debug!("a payout of {payout}");
        }
        let document = FactDocument::new(event.id.as_str(), &fact);
        self.read_one_by_one(event, &fact).await?;
        if !self.rollups.add(&document, &fact.bucket()).await? {
            return Ok(Outcome::Duplicate);
        }
        self.active.lock().unwrap_or_else(PoisonError::into_inner).record(&fact.player_id, at_ms);
        report::count(&event.message, &fact);
        // A repetition of the record ends above as a duplicate, so it is not fanned out again.
        self.fan_out.publish_items(event, &fact).await;
        Ok(Outcome::Applied)
    }
}

impl OnFact {
    /// Reads the player's metrics fact by fact while the fault `analytics.n-plus-one` is active for a settled bet.
    ///
    /// It comes before the insert. A retry after a failed read would find the fact and not count it in the metrics.
    async fn read_one_by_one(&self, event: &Event, fact: &Fact) -> Result<(), StoreError> {
        let Some(limit) = self.single_reads(event, fact) else { return Ok(()) };
        let metrics = self.facts.player_metrics_one_by_one(&fact.player_id, limit).await?;
        tracing::debug!(
            player.id = fact.player_id,
            "the metrics of a player were read fact by fact: {metrics:?}"
        );
        Ok(())
    }

    /// Returns the number of facts that the fault reads one by one.
    fn single_reads(&self, event: &Event, fact: &Fact) -> Option<u32> {
        if fact.kind != Kind::BetSettled {
            return None;
        }
        let (player_id, key) = (Some(fact.player_id.as_str()), Some(event.id.as_str()));
        let values = chassis::faults::active(&self.faults, FaultId::AnalyticsNPlusOne, player_id, key)?;
        Some(u32::try_from(values.get("bets_max")).unwrap_or_default())
    }
}
