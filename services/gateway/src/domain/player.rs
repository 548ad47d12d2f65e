//! Players in the public interface. The user and payment services return the same fields.

use std::collections::BTreeMap;

use money::Currency;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The new player.
#[derive(Deserialize, Serialize, ToSchema)]
pub(crate) struct Registered {
    /// The player's id.
    player_id: String,
}

/// A player's profile.
#[derive(Deserialize, Serialize, ToSchema)]
pub(crate) struct Profile {
    player_id: String,
    email: String,
    display_name: String,
    /// The currency of the first balance.
    currency: String,
    /// State of the identity check: `pending`, `verified` or `rejected`.
    kyc_status: String,
    /// True when the player receives e-mails.
    email_enabled: bool,
    /// End of the self-exclusion in milliseconds since the epoch, or null without one.
    #[schema(required)]
    self_excluded_until_epoch_ms: Option<i64>,
    limits: PlayerLimits,
    registered_at_epoch_ms: i64,
}

/// The limits that a player asked for last. A looser one counts after its wait. Null means no limit.
#[derive(Deserialize, Serialize, ToSchema)]
struct PlayerLimits {
    /// Largest stake of one bet, in minor units.
    #[schema(required)]
    max_stake_minor: Option<i64>,
    /// Largest loss of one day (UTC), in minor units.
    #[schema(required)]
    daily_loss_minor: Option<i64>,
    /// The currency of both limits.
    #[schema(required)]
    currency: Option<String>,
}

/// A player's balances.
#[derive(Default, Deserialize, Serialize, ToSchema)]
pub(crate) struct Balances {
    /// Minor units by currency. Empty for a player without an account yet.
    #[schema(value_type = BTreeMap<String, i64>, example = json!({ "EUR": 1234 }))]
    balances: BTreeMap<Currency, i64>,
}
