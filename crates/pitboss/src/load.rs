//! Load on the gateway: an open loop at a given rate, or as fast as a number of players can go one bet after the other.
//!
//! Open loop means that a bet is sent when its time has come, whatever became of the ones before it, and that its latency
//! counts from that intended time: a platform that stalls cannot hide it by being asked less.

pub mod driver;
pub mod losses;
pub mod report;

use std::time::Duration;

use anyhow::Result;
use futures::stream::{self, StreamExt, TryStreamExt};

use crate::player::{Gateway, Player};

/// How many players are registered at the same time; each costs the user service a password hash.
const REGISTRATIONS_AT_ONCE: usize = 4;

/// What is asked of the platform.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Bets a second; `None`: as fast as the players can go, each one bet after the other.
    pub rate_per_s: Option<f64>,
    /// How long bets are sent.
    pub duration: Duration,
    /// Among how many players the bets are spread.
    pub players: usize,
    /// What each bet stakes, in minor units.
    pub stake_minor: i64,
    /// The players' currency.
    pub currency: String,
}

impl Plan {
    /// What each player deposits first: enough that no bet of the run is refused for want of money, whatever the reels show.
    #[must_use]
    pub fn deposit_minor(&self) -> i64 {
        const BETS_PER_S_AT_MOST: f64 = 2_000.0;
        let bets = self.rate_per_s.unwrap_or(BETS_PER_S_AT_MOST) * self.duration.as_secs_f64();
        let each = (bets / self.players.max(1) as f64).ceil() as i64 + 1;
        each.saturating_mul(self.stake_minor).saturating_mul(2)
    }
}

/// Registers the plan's players and fills their accounts; `progress` is called for each.
///
/// # Errors
/// When the gateway refuses one of them or cannot be reached.
pub async fn prepare(gateway: &Gateway, plan: &Plan, progress: impl Fn()) -> Result<Vec<Player>> {
    let progress = &progress;
    stream::iter(0..plan.players)
        .map(|_| async move {
            let player = gateway.register(&plan.currency).await?;
            gateway.deposit(&player, plan.deposit_minor(), &plan.currency).await?;
            progress();
            Ok(player)
        })
        .buffer_unordered(REGISTRATIONS_AT_ONCE)
        .try_collect()
        .await
}
