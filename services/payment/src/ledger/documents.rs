//! Documents of `payment.accounts`. One document holds all currencies of a player, so a command id meets only one document.

use std::collections::BTreeMap;

use bson::{Bson, DateTime, Document, doc};
use money::{Currency, Money};
use serde::{Deserialize, Serialize};

use super::Entry;
use crate::domain::{AccountState, LaterLimit, LaterLimits, LimitSet, LossDay};

/// Account, as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountDoc {
    /// Id of the player.
    #[serde(rename = "_id")]
    pub player_id: String,
    /// Compared by the compare-and-set. Every change raises it, except a trim.
    pub version: i64,
    /// The `seq` of the next decision.
    pub next_seq: i64,
    /// Minor units per currency. An absent currency is not held.
    pub balances: BTreeMap<Currency, i64>,
    /// Limits that the player has set.
    #[serde(default)]
    pub limits: StoredLimits,
    /// End of the self-exclusion from bets and deposits.
    #[serde(default)]
    pub self_excluded_until: Option<DateTime>,
    /// Net loss on the day of the last wager.
    #[serde(default)]
    pub loss_day: StoredLossDay,
    /// Decisions that are not trimmed yet, in order of `seq`.
    pub tail: Vec<Entry>,
    /// Time of the oldest decision in the tail, by which the sweeper finds the account. Null when the tail is empty.
    #[serde(default)]
    pub oldest_tail_at: Option<DateTime>,
    /// State before the latest decision, in case it is reverted.
    #[serde(default)]
    pub before: Option<Before>,
}

/// State that a decision can change, as it was before the decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// `seq` of that decision.
    pub seq: i64,
    /// Minor units per currency.
    pub balances: BTreeMap<Currency, i64>,
    /// Limits that the player has set.
    pub limits: StoredLimits,
    /// End of the self-exclusion from bets and deposits.
    pub self_excluded_until: Option<DateTime>,
    /// Net loss on the day of the last wager.
    pub loss_day: StoredLossDay,
}

impl Before {
    /// Returns the state before the next decision.
    pub(super) fn next(account: &AccountDoc) -> Self {
        Self {
            seq: account.next_seq,
            balances: account.balances.clone(),
            limits: account.limits,
            self_excluded_until: account.self_excluded_until,
            loss_day: account.loss_day.clone(),
        }
    }
}

/// Limits that the player has set, as stored. Older builds drop the later ones, so the stricter ones stay in force.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredLimits {
    /// Largest stake of one bet.
    #[serde(default)]
    pub max_stake: Option<Money>,
    /// Largest net loss per day.
    #[serde(default)]
    pub daily_loss: Option<Money>,
    /// Looser limit that replaces `max_stake` later.
    #[serde(default)]
    pub max_stake_later: Option<StoredLater>,
    /// Looser limit that replaces `daily_loss` later.
    #[serde(default)]
    pub daily_loss_later: Option<StoredLater>,
}

/// Limit that counts from a time on, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredLater {
    /// The limit. Null when the player removed it.
    #[serde(default)]
    pub limit: Option<Money>,
    /// Time from which it counts.
    pub from: DateTime,
}

impl From<StoredLater> for LaterLimit {
    fn from(later: StoredLater) -> Self {
        Self { limit: later.limit, from_ms: later.from.timestamp_millis() }
    }
}

/// Net loss of one day, as stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredLossDay {
    /// Days since the epoch.
    #[serde(default)]
    pub day: i64,
    /// Minor units per currency.
    #[serde(default)]
    pub net_minor: BTreeMap<Currency, i64>,
}

impl AccountDoc {
    /// Returns an account without any history. It holds `currency` at zero, if one is given.
    pub(super) fn new(player_id: &str, currency: Option<Currency>) -> Self {
        Self {
            player_id: player_id.to_owned(),
            version: 0,
            next_seq: 1,
            balances: currency.map(|currency| (currency, 0)).into_iter().collect(),
            limits: StoredLimits::default(),
            self_excluded_until: None,
            loss_day: StoredLossDay::default(),
            tail: Vec::new(),
            oldest_tail_at: None,
            before: None,
        }
    }

    /// Returns the state before the decision `seq`, or `None` unless that decision is the latest.
    pub(super) fn state_before(&self, seq: i64) -> Option<AccountState> {
        let before = self.before.clone().filter(|before| before.seq == seq && self.next_seq == seq + 1)?;
        let mut balances = before.balances;
        // A currency opened since then stays open, because a registration is not a decision and is not redelivered.
        for currency in self.balances.keys() {
            balances.entry(*currency).or_insert(0);
        }
        let found = Self {
            next_seq: seq,
            balances,
            limits: before.limits,
            self_excluded_until: before.self_excluded_until,
            loss_day: before.loss_day,
            ..self.clone()
        };
        Some(found.state())
    }

    /// Returns the state that decisions depend on.
    #[must_use]
    pub fn state(&self) -> AccountState {
        AccountState {
            player_id: self.player_id.clone(),
            next_seq: self.next_seq,
            balances: self.balances.clone(),
            limits: LimitSet { max_stake: self.limits.max_stake, daily_loss: self.limits.daily_loss },
            later_limits: LaterLimits {
                max_stake: self.limits.max_stake_later.map(LaterLimit::from),
                daily_loss: self.limits.daily_loss_later.map(LaterLimit::from),
            },
            self_excluded_until_ms: self.self_excluded_until.map(DateTime::timestamp_millis),
            loss_day: LossDay { day: self.loss_day.day, net_minor: self.loss_day.net_minor.clone() },
        }
    }
}

/// Returns the fields that a decision changes, as values to set.
pub(super) fn decided_fields(version: i64, after: &AccountState) -> Document {
    let money = |amount: Option<Money>| {
        amount.map(|amount| doc! { "minor": amount.minor(), "currency": amount.currency().code() })
    };
    let later = |later: Option<LaterLimit>| {
        later.map(|later| doc! { "limit": money(later.limit), "from": DateTime::from_millis(later.from_ms) })
    };
    doc! {
        "version": version,
        "next_seq": after.next_seq,
        "balances": minor_per_currency(&after.balances),
        "limits": {
            "max_stake": money(after.limits.max_stake),
            "daily_loss": money(after.limits.daily_loss),
            "max_stake_later": later(after.later_limits.max_stake),
            "daily_loss_later": later(after.later_limits.daily_loss),
        },
        "self_excluded_until": after.self_excluded_until_ms.map(DateTime::from_millis),
        "loss_day": { "day": after.loss_day.day, "net_minor": minor_per_currency(&after.loss_day.net_minor) },
    }
}

fn minor_per_currency(amounts: &BTreeMap<Currency, i64>) -> Document {
    amounts.iter().map(|(currency, minor)| (currency.code().to_owned(), Bson::Int64(*minor))).collect()
}
