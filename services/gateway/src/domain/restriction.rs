//! Limits and self-exclusion in the public interface.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::Answer;

/// The limits that a player sets for themselves. A missing field removes that limit.
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

/// Answer to a restriction that the ledger enforces.
pub(crate) fn applied() -> Answer {
    Answer::result(&RestrictionResult { status: RestrictionStatus::Applied })
}
