//! Work that meets a fault: the same units with the same amounts in every phase of a row.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result};
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use reqwest::{Method, StatusCode};
use serde_json::json;
use uuid::Uuid;

use crate::player::{Gateway, Player};

const CURRENCY: &str = "EUR";
/// Stakes and amounts, in minor units. The seed chooses one for each unit.
const AMOUNTS_MINOR: [i64; 3] = [100, 200, 500];
/// Deposit of a player before the phases. It covers every stake.
const DEPOSIT_MINOR: i64 = 10_000_000;
/// Attempts at the deposit of a new player, because a payment of the row before may still be late.
const DEPOSIT_ATTEMPTS_MAX: u32 = 3;
/// Players who play until there are enough big wins.
const WINNERS: usize = 8;
/// A payout of this many stakes is a big win, about which notification sends an e-mail.
const BIG_WIN_STAKES: i64 = 20;

/// The work of one phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Deposits of one player, one after the other. A unit is a deposit.
    Deposits {
        /// Number of units.
        count: u32,
    },
    /// Bets of one player, one after the other. A unit is a bet.
    Bets {
        /// Number of units.
        count: u32,
        /// Bets of this player before the first phase.
        earlier_bets: u32,
    },
    /// Reads of one player's bets, one after the other. A unit is a read.
    HistoryReads {
        /// Number of units.
        count: u32,
        /// Bets of this player before the first phase.
        earlier_bets: u32,
    },
    /// Bets of several players until there are enough big wins. A unit is a big win.
    BigWins {
        /// Number of units.
        count: u32,
        /// Largest number of bets. About one bet in 108 is a big win.
        bets_max: u32,
    },
}

/// State of a phase in progress.
#[derive(Debug, Default)]
pub struct Progress {
    units: AtomicU64,
    failed: AtomicU64,
    first_ended: OnceLock<Instant>,
    all_ended: OnceLock<Instant>,
}

impl Progress {
    /// Number of units that have ended.
    #[must_use]
    pub fn units(&self) -> u64 {
        self.units.load(Ordering::Relaxed)
    }

    /// Number of units that were not answered with success.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Moment at which the first unit ended.
    #[must_use]
    pub fn first_ended(&self) -> Option<Instant> {
        self.first_ended.get().copied()
    }

    /// Moment at which the last unit ended. `None` while the work goes on.
    #[must_use]
    pub fn all_ended(&self) -> Option<Instant> {
        self.all_ended.get().copied()
    }

    fn unit_ended(&self, succeeded: bool) {
        self.first_ended.get_or_init(Instant::now);
        self.units.fetch_add(1, Ordering::Relaxed);
        self.failed.fetch_add(u64::from(!succeeded), Ordering::Relaxed);
    }

    fn finish(&self) {
        self.all_ended.get_or_init(Instant::now);
    }
}

impl Workload {
    /// Number of units that a phase has to reach.
    #[must_use]
    pub fn units_min(self) -> u64 {
        let (Self::Deposits { count }
        | Self::Bets { count, .. }
        | Self::HistoryReads { count, .. }
        | Self::BigWins { count, .. }) = self;
        u64::from(count)
    }

    /// Registers the players and brings them into the state that the work needs.
    ///
    /// # Errors
    /// When the platform does not serve them, although no fault is armed.
    pub async fn prepare(self, gateway: &Gateway) -> Result<Vec<Player>> {
        let (count, earlier_bets) = match self {
            Self::Deposits { .. } => (1, 0),
            Self::Bets { earlier_bets, .. } | Self::HistoryReads { earlier_bets, .. } => (1, earlier_bets),
            Self::BigWins { .. } => (WINNERS, 0),
        };
        let mut players = Vec::new();
        for _ in 0..count {
            let player = gateway.register(CURRENCY).await?;
            deposit(gateway, &player).await?;
            for _ in 0..earlier_bets {
                let key = Uuid::new_v4().to_string();
                gateway.bet(&player, AMOUNTS_MINOR[0], CURRENCY, &key).await?;
            }
            players.push(player);
        }
        Ok(players)
    }

    /// Does the work once. A unit that is refused or not answered has ended too, because that may be the fault.
    pub async fn run(self, gateway: &Gateway, players: &[Player], seed: u64, progress: &Progress) {
        let mut random = StdRng::seed_from_u64(seed);
        let amounts = std::iter::repeat_with(|| AMOUNTS_MINOR[random.random_range(0..AMOUNTS_MINOR.len())]);
        let count = usize::try_from(self.units_min()).unwrap_or(usize::MAX);
        if let Self::BigWins { count, bets_max } = self {
            big_wins(gateway, players, count, bets_max, progress).await;
        } else if let Some(player) = players.first() {
            for amount_minor in amounts.take(count) {
                let succeeded = self.unit(gateway, player, amount_minor).await;
                progress.unit_ended(succeeded);
            }
        }
        progress.finish();
    }

    async fn unit(self, gateway: &Gateway, player: &Player, amount_minor: i64) -> bool {
        let key = Uuid::new_v4().to_string();
        let status = match self {
            Self::Deposits { .. } => {
                let body = json!({ "amount_minor": amount_minor, "currency": CURRENCY });
                gateway.call(Method::POST, "/api/v1/payments/deposits", player, &key, Some(&body)).await
            }
            Self::HistoryReads { .. } => {
                gateway.call(Method::GET, "/api/v1/me/bets?limit=100", player, "", None).await
            }
            Self::Bets { .. } | Self::BigWins { .. } => {
                gateway.bet(player, amount_minor, CURRENCY, &key).await.map(|answer| answer.status)
            }
        };
        status.is_ok_and(|status| status == StatusCode::OK)
    }
}

async fn deposit(gateway: &Gateway, player: &Player) -> Result<i64> {
    let mut attempt = 1;
    loop {
        match gateway.deposit(player, DEPOSIT_MINOR, CURRENCY).await {
            Ok(balance_minor) => return Ok(balance_minor),
            Err(error) if attempt >= DEPOSIT_ATTEMPTS_MAX => {
                return Err(error).context("a new player's deposit failed, although no fault is armed");
            }
            Err(_) => attempt += 1,
        }
    }
}

/// Plays until there are enough big wins. Every player sends one bet after the other.
async fn big_wins(gateway: &Gateway, players: &[Player], count: u32, bets_max: u32, progress: &Progress) {
    let stake_minor = AMOUNTS_MINOR[0];
    let (bets, wins) = (AtomicU32::new(0), AtomicU32::new(0));
    let is_enough =
        || wins.load(Ordering::Relaxed) >= count || bets.fetch_add(1, Ordering::Relaxed) >= bets_max;
    let (is_enough, wins) = (&is_enough, &wins);
    let each = players.iter().map(|player| async move {
        while !is_enough() {
            let key = Uuid::new_v4().to_string();
            let Ok(answer) = gateway.bet(player, stake_minor, CURRENCY, &key).await else { continue };
            let is_big_win =
                answer.result().is_ok_and(|bet| bet.payout_minor >= stake_minor * BIG_WIN_STAKES);
            if is_big_win {
                wins.fetch_add(1, Ordering::Relaxed);
                progress.unit_ended(true);
            }
        }
    });
    join_all(each).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_and_last_unit_are_dated() {
        let progress = Progress::default();
        assert_eq!((progress.units(), progress.first_ended(), progress.all_ended()), (0, None, None));
        progress.unit_ended(true);
        let first = progress.first_ended();
        progress.unit_ended(false);
        assert_eq!((progress.units(), progress.failed(), progress.all_ended()), (2, 1, None));
        progress.finish();
        assert!(first.is_some() && progress.first_ended() == first && progress.all_ended() >= first);
    }

    #[test]
    fn phase_demands_all_its_units() {
        assert_eq!(Workload::Deposits { count: 7 }.units_min(), 7);
        assert_eq!(Workload::BigWins { count: 2, bets_max: 900 }.units_min(), 2);
    }
}
