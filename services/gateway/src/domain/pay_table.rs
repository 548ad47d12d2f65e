//! The pay table in the public interface. The game service returns the same fields.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Payouts and reels of the slot machine, with the return that follows from them.
#[derive(Deserialize, Serialize, ToSchema)]
pub(crate) struct PayTable {
    game: String,
    version: String,
    /// Smallest stake in minor units.
    stake_minor_min: i64,
    /// Largest stake in minor units.
    stake_minor_max: i64,
    /// Return to player, exact over all combinations.
    rtp: Fraction,
    /// Share of spins that pay anything.
    hit_rate: Fraction,
    /// Number of combinations of stops.
    combinations: u64,
    pays: Vec<Pay>,
    /// Symbols of each reel from the left, stop by stop.
    strips: Vec<Vec<String>>,
}

/// An exact fraction.
#[derive(Deserialize, Serialize, ToSchema)]
struct Fraction {
    numerator: u64,
    denominator: u64,
    /// In percent, truncated after three decimals, such as `95.953`.
    percent: String,
}

/// The payout of one line.
#[derive(Deserialize, Serialize, ToSchema)]
struct Pay {
    /// Symbols from the left. `any` is any symbol, and `other` any but a cherry.
    line: Vec<String>,
    /// Payout as a multiple of the stake.
    multiplier: u32,
}
