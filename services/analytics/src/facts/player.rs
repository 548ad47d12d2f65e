//! Fault `analytics.n-plus-one`: the metrics of a player, read fact by fact.

use serde::Deserialize;
use store::StoreError;
use store::bson::doc;

use super::Facts;

/// Id of a fact.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct FactId {
    #[serde(rename = "_id")]
    id: String,
}

/// Amounts of a fact.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Amounts {
    in_minor: i64,
    out_minor: i64,
}

/// Sums of a player's last facts, in minor units of any currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PlayerMetrics {
    pub(crate) facts: u64,
    pub(crate) in_minor: i64,
    pub(crate) out_minor: i64,
}

impl Facts {
    /// Returns the metrics of a player's last `limit` facts. It reads the ids with one query, and then each fact with its own.
    pub(crate) async fn player_metrics_one_by_one(
        &self,
        player_id: &str,
        limit: u32,
    ) -> Result<PlayerMetrics, StoreError> {
        let latest_first = doc! { "at": -1 };
        let ids = self.ids.find_readable(doc! { "player_id": player_id }, latest_first, limit).await?;
        let mut metrics = PlayerMetrics::default();
        for fact in ids {
            match self.amounts.find_one(doc! { "_id": fact.id }).await {
                Ok(Some(amounts)) => {
                    metrics.facts = metrics.facts.saturating_add(1);
                    metrics.in_minor = metrics.in_minor.saturating_add(amounts.in_minor);
                    metrics.out_minor = metrics.out_minor.saturating_add(amounts.out_minor);
                }
                // A damaged fact, or one that another build wrote, is left out as it is from other sums.
                Ok(None) | Err(StoreError::Unreadable { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(metrics)
    }
}
