//! State of an account that its decisions depend on: balances, limits, self-exclusion and losses.

use std::collections::BTreeMap;

use money::{Currency, Money, Posting};

use super::DecideError;

/// Milliseconds per day. Days are counted in UTC.
const DAY_MS: i64 = 86_400_000;

/// One player's account in all currencies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountState {
    /// Owner of the account, `player:<id>` in postings.
    pub player_id: String,
    /// Number of the next decision in this account's ledger, starting at 1.
    pub next_seq: i64,
    /// Minor units per currency. An absent currency is not held.
    pub balances: BTreeMap<Currency, i64>,
    /// Limits that the player has set, with the looser ones that wait. See [`AccountState::limits_at`].
    pub limits: Limits,
    /// End of the self-exclusion. New bets and deposits are rejected before it.
    pub self_excluded_until_ms: Option<i64>,
    /// Net loss on the day of the last wager.
    pub loss_day: LossDay,
}

/// Limits as the player wishes them, or as they bind bets in one currency. An absent limit does not apply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitSet {
    /// Largest stake of one bet.
    pub max_stake: Option<Money>,
    /// Largest net loss per day (UTC).
    pub daily_loss: Option<Money>,
}

/// All limits of an account. A limit applies only to bets in its own currency, so each currency has its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Largest stake of one bet.
    pub max_stake: BTreeMap<Currency, Limit>,
    /// Largest net loss per day (UTC).
    pub daily_loss: BTreeMap<Currency, Limit>,
}

/// Limit in one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Minor units. They bind, unless a later limit has replaced them.
    pub minor: i64,
    /// Looser limit that replaces this one when its time has come.
    pub later: Option<LaterLimit>,
}

/// Limit that counts from a time on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaterLimit {
    /// Minor units. `None` when the player removed the limit.
    pub minor: Option<i64>,
    /// Time from which it counts, in milliseconds since the epoch.
    pub from_ms: i64,
}

impl Limit {
    /// Returns the minor units in force at that moment, or `None` when the limit was removed by then.
    #[must_use]
    pub fn minor_at(self, at_ms: i64) -> Option<i64> {
        match self.later {
            Some(later) if later.from_ms <= at_ms => later.minor,
            _ => Some(self.minor),
        }
    }
}

/// The limits of an account whose only wish these were.
impl From<LimitSet> for Limits {
    fn from(wished: LimitSet) -> Self {
        let only = |limit: Option<Money>| -> BTreeMap<Currency, Limit> {
            let limit = limit.map(|limit| (limit.currency(), Limit { minor: limit.minor(), later: None }));
            limit.into_iter().collect()
        };
        Self { max_stake: only(wished.max_stake), daily_loss: only(wished.daily_loss) }
    }
}

/// Stakes minus payouts of one day, per currency. Negative when the player has won more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LossDay {
    /// Days since the epoch.
    pub day: i64,
    /// Net loss in minor units, per currency.
    pub net_minor: BTreeMap<Currency, i64>,
}

impl AccountState {
    /// Returns an account without any history.
    #[must_use]
    pub fn new(player_id: impl Into<String>) -> Self {
        Self { player_id: player_id.into(), next_seq: 1, ..Self::default() }
    }

    /// Returns the balance in a currency, or `None` when the currency is not held.
    #[must_use]
    pub fn balance(&self, currency: Currency) -> Option<Money> {
        self.balances.get(&currency).map(|minor| Money::new(*minor, currency))
    }

    /// Returns true when the self-exclusion covers that moment.
    #[must_use]
    pub fn is_excluded(&self, at_ms: i64) -> bool {
        self.self_excluded_until_ms.is_some_and(|until_ms| at_ms < until_ms)
    }

    /// Returns the limits in force at that moment for bets in one currency.
    #[must_use]
    pub fn limits_at(&self, currency: Currency, at_ms: i64) -> LimitSet {
        let in_force = |limits: &BTreeMap<Currency, Limit>| {
            let minor = limits.get(&currency).and_then(|limit| limit.minor_at(at_ms));
            minor.map(|minor| Money::new(minor, currency))
        };
        LimitSet {
            max_stake: in_force(&self.limits.max_stake),
            daily_loss: in_force(&self.limits.daily_loss),
        }
    }

    /// Returns the net loss on the day of `at_ms`.
    #[must_use]
    pub fn lost_today(&self, currency: Currency, at_ms: i64) -> i64 {
        if self.loss_day.day != self.day_of(at_ms) {
            return 0;
        }
        self.loss_day.net_minor.get(&currency).copied().unwrap_or(0)
    }

    /// Returns the day that a loss counts for. Days never go back. Otherwise a clock set back over midnight, or a second process
    /// whose clock is behind, would reset the daily limits of all players.
    fn day_of(&self, at_ms: i64) -> i64 {
        at_ms.div_euclid(DAY_MS).max(self.loss_day.day)
    }

    /// Adds to the loss of the day. The first loss of a new day drops the day before.
    pub(super) fn add_loss(&mut self, currency: Currency, minor: i64, at_ms: i64) {
        let day = self.day_of(at_ms);
        if self.loss_day.day != day {
            self.loss_day = LossDay { day, net_minor: BTreeMap::new() };
        }
        let so_far = self.loss_day.net_minor.entry(currency).or_insert(0);
        *so_far = so_far.saturating_add(minor);
    }

    /// Reverses the loss or win of a wager at that moment. It does nothing when that day was dropped already.
    pub(super) fn reverse_loss(&mut self, moved: &[Posting], at_ms: i64) {
        if self.loss_day.day != at_ms.div_euclid(DAY_MS) {
            return;
        }
        let own = money::Account::Player(self.player_id.clone());
        for leg in moved.iter().filter(|leg| leg.account == own) {
            self.add_loss(leg.amount.currency(), leg.amount.minor(), at_ms);
        }
    }

    /// Applies the player's side of `postings`. A currency that was not held is held from now on.
    pub(super) fn post(&mut self, postings: &[Posting]) -> Result<(), DecideError> {
        let own = money::Account::Player(self.player_id.clone());
        for posting in postings.iter().filter(|posting| posting.account == own) {
            let balance = self.balances.entry(posting.amount.currency()).or_insert(0);
            *balance = balance.checked_add(posting.amount.minor()).ok_or(DecideError::Overflow)?;
        }
        if self.balances.values().any(|minor| *minor < 0) {
            return Err(DecideError::NegativeBalance);
        }
        Ok(())
    }
}
