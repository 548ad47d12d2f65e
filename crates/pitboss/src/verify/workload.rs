//! Work that meets a fault: the same units with the same amounts in every phase of a row.

mod progress;
mod words;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use contracts::parts::Part;
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use crate::player::{Gateway, Player};
use crate::target::Target;

pub use progress::Progress;

const CURRENCY: &str = "EUR";
/// Stakes and amounts, in minor units. The seed chooses one for each unit.
const AMOUNTS_MINOR: [i64; 3] = [100, 200, 500];
/// Deposit of a player before the phases. It covers every stake.
const DEPOSIT_MINOR: i64 = 10_000_000;
/// Limits that no stake of a workload reaches. The seed's amount is added, so that each change is another one.
const LIMIT_MINOR: i64 = 1_000_000;
/// Attempts at the deposit of a new player, because a payment of the row before may still be late.
const DEPOSIT_ATTEMPTS_MAX: u32 = 3;
/// Players who play until there are enough big wins.
const WINNERS: usize = 8;
/// Players who share units that are sent without waiting for one another.
const PACED_PLAYERS: usize = 4;
/// A payout of this many stakes is a big win, about which notification sends an e-mail.
const BIG_WIN_STAKES: i64 = 20;
/// Longest time for which big wins are waited for. An armed fault expires a little later.
const BIG_WINS_MAX: Duration = Duration::from_secs(240);
/// Pause of a player whose bet was not answered with its result, so that a gateway that refuses does not use the bets up.
const UNANSWERED_PAUSE: Duration = Duration::from_millis(100);

/// Platform and clients that a workload uses.
#[derive(Clone, Copy, Debug)]
pub struct Means<'a> {
    /// The gateway.
    pub gateway: &'a Gateway,
    /// The platform.
    pub target: &'a Target,
}

/// The work of one phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Deposits of one player, one after the other. A unit is a deposit.
    Deposits {
        /// Number of units.
        count: u32,
    },
    /// Deposits of several players at fixed moments. A unit is a deposit.
    PacedDeposits {
        /// Number of units.
        count: u32,
        /// Time from one unit to the next.
        interval_ms: u32,
    },
    /// Bets of one player, one after the other. A unit is a bet.
    Bets {
        /// Number of units.
        count: u32,
        /// Bets of this player before the first phase.
        earlier_bets: u32,
    },
    /// Bets of several players at fixed moments, whether or not earlier ones were answered. A unit is a bet.
    PacedBets {
        /// Number of units.
        count: u32,
        /// Time from one unit to the next.
        interval_ms: u32,
    },
    /// Bets, deposits and reads of several players at fixed moments.
    Mixed {
        /// Number of units.
        count: u32,
        /// Time from one unit to the next.
        interval_ms: u32,
    },
    /// Reads of one player's bets, one after the other. A unit is a read.
    HistoryReads {
        /// Number of units.
        count: u32,
        /// Bets of this player before the first phase.
        earlier_bets: u32,
    },
    /// Reads of several players' bets at fixed moments. A unit is a read.
    PacedReads {
        /// Number of units.
        count: u32,
        /// Time from one unit to the next.
        interval_ms: u32,
    },
    /// Changes of one player's limits, one after the other. A unit is a change, about which user publishes an event.
    LimitChanges {
        /// Number of units.
        count: u32,
    },
    /// Reads of the summary of figures, one after the other. A unit is a read.
    Summaries {
        /// Number of units.
        count: u32,
    },
    /// Bets of several players until there are enough big wins. A unit is a big win.
    BigWins {
        /// Number of units.
        count: u32,
        /// Largest number of bets. About one bet in 108 is a big win.
        bets_max: u32,
    },
}

/// One unit of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Bet,
    Deposit,
    HistoryRead,
    LimitChange,
    Summary,
}

impl Workload {
    /// Number of units that a phase has to reach.
    #[must_use]
    pub fn units_min(self) -> u64 {
        let (Self::Deposits { count }
        | Self::PacedDeposits { count, .. }
        | Self::Bets { count, .. }
        | Self::PacedBets { count, .. }
        | Self::Mixed { count, .. }
        | Self::HistoryReads { count, .. }
        | Self::PacedReads { count, .. }
        | Self::LimitChanges { count }
        | Self::Summaries { count }
        | Self::BigWins { count, .. }) = self;
        u64::from(count)
    }

    /// Registers the players and brings them into the state that the work needs.
    ///
    /// # Errors
    /// When the platform does not serve them, although no fault is armed.
    pub async fn prepare(self, gateway: &Gateway) -> Result<Vec<Player>> {
        let (count, earlier_bets) = match self {
            Self::Bets { earlier_bets, .. } | Self::HistoryReads { earlier_bets, .. } => (1, earlier_bets),
            Self::BigWins { .. } => (WINNERS, 0),
            Self::PacedBets { .. }
            | Self::PacedDeposits { .. }
            | Self::PacedReads { .. }
            | Self::Mixed { .. } => (PACED_PLAYERS, 0),
            Self::Deposits { .. } | Self::LimitChanges { .. } | Self::Summaries { .. } => (1, 0),
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
    pub async fn run(self, means: Means<'_>, players: &[Player], seed: u64, progress: &Progress) {
        let mut random = StdRng::seed_from_u64(seed);
        let amounts = std::iter::repeat_with(|| AMOUNTS_MINOR[random.random_range(0..AMOUNTS_MINOR.len())]);
        let count = usize::try_from(self.units_min()).unwrap_or(usize::MAX);
        let units: Vec<(Unit, i64)> =
            amounts.take(count).enumerate().map(|(number, amount)| (self.unit(number), amount)).collect();
        match self {
            Self::BigWins { count, bets_max } => {
                big_wins(means.gateway, players, count, bets_max, progress).await;
            }
            Self::PacedBets { interval_ms, .. }
            | Self::PacedDeposits { interval_ms, .. }
            | Self::Mixed { interval_ms, .. }
            | Self::PacedReads { interval_ms, .. } => {
                let interval = Duration::from_millis(u64::from(interval_ms));
                paced(means, players, &units, interval, progress).await;
            }
            _ => {
                let Some(player) = players.first() else { return };
                for (unit, amount_minor) in units {
                    unit.measured(means, player, amount_minor, progress).await;
                }
            }
        }
    }

    /// The unit with this number.
    fn unit(self, number: usize) -> Unit {
        match self {
            Self::Bets { .. } | Self::PacedBets { .. } | Self::BigWins { .. } => Unit::Bet,
            Self::Deposits { .. } | Self::PacedDeposits { .. } => Unit::Deposit,
            Self::HistoryReads { .. } | Self::PacedReads { .. } => Unit::HistoryRead,
            Self::LimitChanges { .. } => Unit::LimitChange,
            Self::Summaries { .. } => Unit::Summary,
            Self::Mixed { .. } => match number % 8 {
                3 => Unit::Deposit,
                5 => Unit::HistoryRead,
                7 => Unit::LimitChange,
                _ => Unit::Bet,
            },
        }
    }
}

impl Unit {
    /// Does the unit, and counts its end and its time.
    async fn measured(self, means: Means<'_>, player: &Player, amount_minor: i64, progress: &Progress) {
        let began = Instant::now();
        let succeeded = self.succeeds(means, player, amount_minor).await;
        progress.unit_ended(succeeded, began.elapsed());
    }

    async fn succeeds(self, means: Means<'_>, player: &Player, amount_minor: i64) -> bool {
        let (gateway, key) = (means.gateway, Uuid::new_v4().to_string());
        let status = match self {
            Self::Bet => gateway.bet(player, amount_minor, CURRENCY, &key).await.map(|answer| answer.status),
            Self::Deposit => {
                let body = json!({ "amount_minor": amount_minor, "currency": CURRENCY });
                gateway.call(Method::POST, "/api/v1/payments/deposits", player, &key, Some(&body)).await
            }
            Self::HistoryRead => {
                gateway.call(Method::GET, "/api/v1/me/bets?limit=100", player, "", None).await
            }
            Self::LimitChange => {
                let limit_minor = LIMIT_MINOR + amount_minor;
                let body = json!({ "max_stake_minor": limit_minor, "currency": CURRENCY });
                gateway.call(Method::PUT, "/api/v1/me/limits", player, &key, Some(&body)).await
            }
            Self::Summary => summary(means.target).await,
        };
        status.is_ok_and(|status| status == StatusCode::OK)
    }
}

/// Reads the summary of figures, as an operator's page would.
async fn summary(target: &Target) -> Result<StatusCode> {
    let url = target.service_url(Part::Analytics).context("the port of analytics is not known")?;
    let request = target.http().get(format!("{url}/api/v1/summary"));
    let request = target
        .internal_token
        .iter()
        .fold(request, |request, token| request.header("x-internal-token", token));
    let answer = request.send().await?;
    let status = answer.status();
    // Reads the whole answer, so that the connection can be used again.
    answer.bytes().await?;
    Ok(status)
}

/// Begins a unit at each interval. Their number is bounded by the workload.
async fn paced(
    means: Means<'_>,
    players: &[Player],
    units: &[(Unit, i64)],
    interval: Duration,
    progress: &Progress,
) {
    let mut due = Instant::now();
    let mut each = Vec::new();
    for ((unit, amount_minor), player) in units.iter().zip(players.iter().cycle()) {
        let at = due;
        due += interval;
        each.push(async move {
            tokio::time::sleep_until(at).await;
            unit.measured(means, player, *amount_minor, progress).await;
        });
    }
    join_all(each).await;
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
    let until = Instant::now() + BIG_WINS_MAX;
    let is_enough = || {
        let has_won = wins.load(Ordering::Relaxed) >= count;
        has_won || Instant::now() >= until || bets.fetch_add(1, Ordering::Relaxed) >= bets_max
    };
    let (is_enough, wins) = (&is_enough, &wins);
    let each = players.iter().map(|player| async move {
        while !is_enough() {
            let (key, began) = (Uuid::new_v4().to_string(), Instant::now());
            let answer = gateway.bet(player, stake_minor, CURRENCY, &key).await;
            let Ok(bet) = answer.and_then(|answer| answer.result()) else {
                tokio::time::sleep(UNANSWERED_PAUSE).await;
                continue;
            };
            if bet.payout_minor >= stake_minor * BIG_WIN_STAKES {
                wins.fetch_add(1, Ordering::Relaxed);
                progress.unit_ended(true, began.elapsed());
            }
        }
    });
    join_all(each).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phase_demands_all_its_units() {
        assert_eq!(Workload::Deposits { count: 7 }.units_min(), 7);
        assert_eq!(Workload::BigWins { count: 2, bets_max: 900 }.units_min(), 2);
        assert_eq!(Workload::PacedBets { count: 9, interval_ms: 1 }.units_min(), 9);
    }

    #[tokio::test]
    async fn refused_connections_do_not_use_up_all_bets() {
        drop(rustls::crypto::ring::default_provider().install_default());
        let gateway = Gateway::new("http://127.0.0.1:1", None).unwrap(); // no listener there
        let player = Player { player_id: "p".to_owned(), token: "t".to_owned() };
        let (progress, began) = (Progress::default(), Instant::now());
        big_wins(&gateway, &[player], 1, 3, &progress).await;
        assert!(began.elapsed() >= UNANSWERED_PAUSE * 3, "{:?}", began.elapsed());
        assert_eq!(progress.units(), 0);
    }

    #[test]
    fn mixed_load_has_every_unit_of_a_player() {
        let mixed = Workload::Mixed { count: 8, interval_ms: 1 };
        let units: Vec<Unit> = (0..8).map(|number| mixed.unit(number)).collect();
        for unit in [Unit::Bet, Unit::Deposit, Unit::HistoryRead, Unit::LimitChange] {
            assert!(units.contains(&unit), "{unit:?}");
        }
        assert!(!units.contains(&Unit::Summary));
    }
}
