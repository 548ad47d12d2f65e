//! Parameters of a load run, and the players that it needs.

use std::time::Duration;

use anyhow::Result;
use futures::stream::{self, StreamExt, TryStreamExt};

use crate::player::{Gateway, Player};

/// Number of players that are registered at the same time. Each costs the user service a password hash.
const REGISTRATIONS_MAX: usize = 4;

/// Parameters of a load run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Bets a second, or `None` for players that send one bet after the other.
    pub rate_per_s: Option<f64>,
    /// Time for which bets are sent.
    pub duration: Duration,
    /// Number of players that share the bets.
    pub players: usize,
    /// Stake of each bet, in minor units.
    pub stake_minor: i64,
    /// The players' currency.
    pub currency: String,
}

impl Plan {
    /// Deposit of each player before the run. It covers all bets of the run, whatever the reels show.
    #[must_use]
    pub fn deposit_minor(&self) -> i64 {
        const BETS_PER_S_MAX: f64 = 2_000.0;
        let bets = self.rate_per_s.unwrap_or(BETS_PER_S_MAX) * self.duration.as_secs_f64();
        let each = (bets / self.players.max(1) as f64).ceil() as i64 + 1;
        each.saturating_mul(self.stake_minor).saturating_mul(2)
    }
}

/// Registers the plan's players and makes their deposits. `progress` is called for each.
pub async fn prepare(gateway: &Gateway, plan: &Plan, progress: impl Fn()) -> Result<Vec<Player>> {
    let progress = &progress;
    stream::iter(0..plan.players)
        .map(|_| async move {
            let player = gateway.register(&plan.currency).await?;
            gateway.deposit(&player, plan.deposit_minor(), &plan.currency).await?;
            progress();
            Ok(player)
        })
        .buffer_unordered(REGISTRATIONS_MAX)
        .try_collect()
        .await
}
