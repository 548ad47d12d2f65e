//! Limits and self-exclusion in the public interface.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::{Answer, json_bytes};

/// The limits that a player sets for themselves, in one currency. A missing one is removed, and so are those in other currencies.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitsRequest {
    /// Largest stake of one bet, in minor units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub max_stake_minor: Option<i64>,
    /// Largest loss of one day (UTC), in minor units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub daily_loss_minor: Option<i64>,
    /// The currency of both limits.
    #[schema(example = "EUR")]
    pub currency: String,
}

/// A self-exclusion.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SelfExclusionRequest {
    /// End of the exclusion in milliseconds since the epoch, from one minute to ten years ahead.
    pub until_epoch_ms: i64,
}

/// State of a restriction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RestrictionStatus {
    /// The ledger has it. It enforces it from now on, and a looser limit after its wait.
    Applied,
    /// It is stored. The ledger does not have it yet.
    Pending,
}

/// The answer to a restriction.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct RestrictionResult {
    /// Its state.
    pub status: RestrictionStatus,
}

/// A restriction that the ledger has, as the payment service returns it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct StoredRestriction {
    pub(crate) player_id: String,
}

/// Answer to a restriction that the ledger enforces.
pub(crate) fn applied() -> Answer {
    Answer::Result(applied_body())
}

/// Body of that answer.
pub(crate) fn applied_body() -> Bytes {
    json_bytes(&RestrictionResult { status: RestrictionStatus::Applied })
}
