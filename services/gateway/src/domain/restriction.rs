//! Limits and self-exclusion in the public interface.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The limits that a player sets; what is left out is no limit.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitsRequest {
    /// The most that one bet may stake, in minor units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub max_stake_minor: Option<i64>,
    /// The most that may be lost on one day (UTC), in minor units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub daily_loss_minor: Option<i64>,
    /// The currency of both.
    #[schema(example = "EUR")]
    pub currency: String,
}

/// For how long a player shuts themselves out.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SelfExclusionRequest {
    /// Until when, in milliseconds since the epoch: a minute ahead at least, ten years at most.
    pub until_epoch_ms: i64,
}

/// How far a restriction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RestrictionStatus {
    /// The ledger enforces it from now on.
    Applied,
    /// It is stored and on its way to the ledger.
    Pending,
}

/// The answer to a restriction.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct RestrictionResult {
    /// How far it is.
    pub status: RestrictionStatus,
}
