//! The state that decides: what an account holds and what its owner allows.

use std::collections::BTreeMap;

use money::{Currency, Money, Posting};

use super::DecideError;

/// Milliseconds of a day; days are counted in UTC.
const DAY_MS: i64 = 86_400_000;

/// One player's account, all currencies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountState {
    /// Whose account: `player:<id>` in postings.
    pub player_id: String,
    /// The place of the next decision in this account's ledger, from 1.
    pub next_seq: i64,
    /// Minor units held per currency; a currency that is absent is not held.
    pub balances: BTreeMap<Currency, i64>,
    /// What the player allows themselves.
    pub limits: LimitSet,
    /// No new bet or deposit before this moment.
    pub self_excluded_until_ms: Option<i64>,
    /// What was lost on the last day with a wager.
    pub loss_day: LossDay,
}

/// The player's own limits; an absent one is no limit. A limit binds bets in its own currency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitSet {
    /// Most that one bet may stake.
    pub max_stake: Option<Money>,
    /// Most that may be lost in one day (UTC).
    pub daily_loss: Option<Money>,
}

/// Stakes less payouts of one day, per currency; negative when the player is winning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LossDay {
    /// Days since the epoch.
    pub day: i64,
    /// Net loss in minor units.
    pub net_minor: BTreeMap<Currency, i64>,
}

impl AccountState {
    /// An account that nothing has happened to.
    #[must_use]
    pub fn new(player_id: impl Into<String>) -> Self {
        Self { player_id: player_id.into(), next_seq: 1, ..Self::default() }
    }

    /// What is held in a currency, if it is held at all.
    #[must_use]
    pub fn balance(&self, currency: Currency) -> Option<Money> {
        self.balances.get(&currency).map(|minor| Money::new(*minor, currency))
    }

    /// Whether the player has excluded themselves at that moment.
    #[must_use]
    pub fn is_excluded(&self, at_ms: i64) -> bool {
        self.self_excluded_until_ms.is_some_and(|until_ms| at_ms < until_ms)
    }

    /// Net loss so far on the day of `at_ms`.
    #[must_use]
    pub fn lost_today(&self, currency: Currency, at_ms: i64) -> i64 {
        if self.loss_day.day != self.day_of(at_ms) {
            return 0;
        }
        self.loss_day.net_minor.get(&currency).copied().unwrap_or(0)
    }

    /// The day that a loss counts for. Days only go forward: a clock that went back over midnight, or a second process whose
    /// clock is behind, would else make everybody's limit new.
    fn day_of(&self, at_ms: i64) -> i64 {
        at_ms.div_euclid(DAY_MS).max(self.loss_day.day)
    }

    /// Adds to the loss of the day; the day before is forgotten.
    pub(super) fn add_loss(&mut self, currency: Currency, minor: i64, at_ms: i64) {
        let day = self.day_of(at_ms);
        if self.loss_day.day != day {
            self.loss_day = LossDay { day, net_minor: BTreeMap::new() };
        }
        let so_far = self.loss_day.net_minor.entry(currency).or_insert(0);
        *so_far = so_far.saturating_add(minor);
    }

    /// Takes back what a wager of that moment lost or won, unless its day is over: that one is forgotten already.
    pub(super) fn take_back_loss(&mut self, moved: &[Posting], at_ms: i64) {
        if self.loss_day.day != at_ms.div_euclid(DAY_MS) {
            return;
        }
        let own = money::Account::Player(self.player_id.clone());
        for leg in moved.iter().filter(|leg| leg.account == own) {
            self.add_loss(leg.amount.currency(), leg.amount.minor(), at_ms);
        }
    }

    /// Moves the player's side of `postings`; a currency that was not held is held from now on.
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
