//! `payment.accounts`: one document a player, all currencies, so that one command id can only meet one document.

use std::collections::BTreeMap;

use bson::{Bson, DateTime, Document, doc};
use money::{Currency, Money};
use serde::{Deserialize, Serialize};

use super::Entry;
use crate::domain::{AccountState, LimitSet, LossDay};

/// An account as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountDoc {
    /// Whose account.
    #[serde(rename = "_id")]
    pub player_id: String,
    /// Raised by every decision, never by a trim: what the compare-and-set compares.
    pub version: i64,
    /// The `seq` of the next decision.
    pub next_seq: i64,
    /// Minor units per currency; an absent currency is not held.
    pub balances: BTreeMap<Currency, i64>,
    /// The player's own limits.
    #[serde(default)]
    pub limits: StoredLimits,
    /// No bets or deposits before this moment.
    #[serde(default)]
    pub self_excluded_until: Option<DateTime>,
    /// Day (since the epoch) and net loss of the last wager's day.
    #[serde(default)]
    pub loss_day: StoredLossDay,
    /// Decisions that are not known to be relayed, in order of `seq`.
    pub tail: Vec<Entry>,
    /// When the oldest decision of the tail was made: what the sweeper looks for. Null when the tail is empty.
    #[serde(default)]
    pub oldest_tail_at: Option<DateTime>,
    /// What the latest decision found, in case that it is taken back.
    #[serde(default)]
    pub before: Option<Before>,
}

/// What a decision can change, as it was before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// Before which decision.
    pub seq: i64,
    /// Minor units per currency.
    pub balances: BTreeMap<Currency, i64>,
    /// The player's own limits.
    pub limits: StoredLimits,
    /// No bets or deposits before this moment.
    pub self_excluded_until: Option<DateTime>,
    /// The net loss of the last wager's day.
    pub loss_day: StoredLossDay,
}

impl Before {
    /// For the decision that comes next.
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

/// The player's own limits, as stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredLimits {
    /// Most that one bet may stake.
    #[serde(default)]
    pub max_stake: Option<Money>,
    /// Most that may be lost in one day.
    #[serde(default)]
    pub daily_loss: Option<Money>,
}

/// The net loss of one day, as stored.
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
    /// An account that nothing has happened to, holding `currency` at zero.
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

    /// What the decision `seq` found; `None` unless it is the latest.
    pub(super) fn state_before(&self, seq: i64) -> Option<AccountState> {
        let before = self.before.clone().filter(|before| before.seq == seq && self.next_seq == seq + 1)?;
        let mut balances = before.balances;
        // A currency opened meanwhile stays open: a registration is no decision and does not come again.
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

    /// What decides.
    #[must_use]
    pub fn state(&self) -> AccountState {
        AccountState {
            player_id: self.player_id.clone(),
            next_seq: self.next_seq,
            balances: self.balances.clone(),
            limits: LimitSet { max_stake: self.limits.max_stake, daily_loss: self.limits.daily_loss },
            self_excluded_until_ms: self.self_excluded_until.map(DateTime::timestamp_millis),
            loss_day: LossDay { day: self.loss_day.day, net_minor: self.loss_day.net_minor.clone() },
        }
    }
}

/// The fields that a decision changes, as values to set.
pub(super) fn decided_fields(version: i64, after: &AccountState) -> Document {
    let money = |amount: Option<Money>| match amount {
        Some(amount) => {
            Bson::Document(doc! { "minor": amount.minor(), "currency": amount.currency().code() })
        }
        None => Bson::Null,
    };
    doc! {
        "version": version,
        "next_seq": after.next_seq,
        "balances": minor_per_currency(&after.balances),
        "limits": {
            "max_stake": money(after.limits.max_stake),
            "daily_loss": money(after.limits.daily_loss),
        },
        "self_excluded_until": after.self_excluded_until_ms.map(DateTime::from_millis),
        "loss_day": { "day": after.loss_day.day, "net_minor": minor_per_currency(&after.loss_day.net_minor) },
    }
}

fn minor_per_currency(amounts: &BTreeMap<Currency, i64>) -> Document {
    amounts.iter().map(|(currency, minor)| (currency.code().to_owned(), Bson::Int64(*minor))).collect()
}
