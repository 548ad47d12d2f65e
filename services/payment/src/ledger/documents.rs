//! Documents of `payment.accounts`. One document holds all currencies of a player, so a command id meets only one document.

use std::collections::BTreeMap;

use bson::{Bson, DateTime, Document, doc};
use money::{Currency, Money};
use serde::{Deserialize, Serialize};

use super::Entry;
use crate::domain::{AccountState, LaterLimit, Limit, Limits, LossDay};

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
            limits: account.limits.clone(),
            self_excluded_until: account.self_excluded_until,
            loss_day: account.loss_day.clone(),
        }
    }
}

/// Limits that the player has set, as stored. Older builds know one currency and drop the rest: the further currencies, and
/// (still older ones) the later limits, so the stricter ones stay in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredLimits {
    /// Largest stake of one bet, in one of the currencies that have one.
    #[serde(default)]
    pub max_stake: Option<Money>,
    /// Largest net loss per day, in one of the currencies that have one.
    #[serde(default)]
    pub daily_loss: Option<Money>,
    /// Looser limit that replaces `max_stake` later. One in another currency is in force already, and `max_stake` is removed then.
    #[serde(default)]
    pub max_stake_later: Option<StoredLater>,
    /// The same for `daily_loss`.
    #[serde(default)]
    pub daily_loss_later: Option<StoredLater>,
    /// Largest stakes in further currencies.
    #[serde(default)]
    pub max_stake_more: Vec<StoredLimit>,
    /// Largest net losses in further currencies.
    #[serde(default)]
    pub daily_loss_more: Vec<StoredLimit>,
}

/// Limit in a further currency, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredLimit {
    /// The limit.
    pub limit: Money,
    /// Looser limit that replaces it later.
    #[serde(default)]
    pub later: Option<StoredLater>,
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

impl From<&StoredLimits> for Limits {
    fn from(stored: &StoredLimits) -> Self {
        Self {
            max_stake: by_currency(stored.max_stake, stored.max_stake_later, &stored.max_stake_more),
            daily_loss: by_currency(stored.daily_loss, stored.daily_loss_later, &stored.daily_loss_more),
        }
    }
}

fn by_currency(
    first: Option<Money>,
    later: Option<StoredLater>,
    more: &[StoredLimit],
) -> BTreeMap<Currency, Limit> {
    let first = first.map(|limit| StoredLimit { limit, later });
    let mut limits = BTreeMap::new();
    for StoredLimit { limit, later } in first.iter().chain(more) {
        let currency = limit.currency();
        let (same, other) = match later.and_then(|later| later.limit) {
            Some(limit) if limit.currency() == currency => (Some(limit.minor()), None),
            other => (None, other),
        };
        // A limit in another currency counts at once, because there it is stricter. An older build put it off until it replaced the
        // old one.
        if let Some(other) = other {
            limits.entry(other.currency()).or_insert(Limit { minor: other.minor(), later: None });
        }
        let later = later.map(|later| LaterLimit { minor: same, from_ms: later.from.timestamp_millis() });
        limits.insert(currency, Limit { minor: limit.minor(), later });
    }
    limits
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

    /// Returns the account after a decision on it, as a read would return it: with the [`decided_fields`], the entry at the end of
    /// the tail, and without the entries `trims`.
    pub(super) fn decided(
        &self,
        mut fields: Document,
        entry: &Entry,
        trims: &[i64],
    ) -> Result<Self, bson::error::Error> {
        fields.insert("_id", &self.player_id);
        fields.insert("tail", Vec::<Bson>::new());
        // Decoded as a read would, because not every limit is stored as it was decided.
        let decoded: Self = bson::deserialize_from_document(fields)?;
        let left = self.tail.iter().filter(|earlier| !trims.contains(&earlier.seq));
        let tail: Vec<Entry> = left.chain([entry]).cloned().collect();
        let oldest_tail_at = tail.iter().map(|entry| entry.at).min();
        Ok(Self { tail, oldest_tail_at, before: Some(Before::next(self)), ..decoded })
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
            limits: Limits::from(&self.limits),
            self_excluded_until_ms: self.self_excluded_until.map(DateTime::timestamp_millis),
            loss_day: LossDay { day: self.loss_day.day, net_minor: self.loss_day.net_minor.clone() },
        }
    }
}

/// Returns the fields that a decision changes, as values to set.
pub(super) fn decided_fields(version: i64, after: &AccountState) -> Document {
    let (max_stake, daily_loss) =
        (limit_fields(&after.limits.max_stake), limit_fields(&after.limits.daily_loss));
    doc! {
        "version": version,
        "next_seq": after.next_seq,
        "balances": minor_per_currency(&after.balances),
        "limits": {
            "max_stake": max_stake.first,
            "daily_loss": daily_loss.first,
            "max_stake_later": max_stake.first_later,
            "daily_loss_later": daily_loss.first_later,
            "max_stake_more": max_stake.more,
            "daily_loss_more": daily_loss.more,
        },
        "self_excluded_until": after.self_excluded_until_ms.map(DateTime::from_millis),
        "loss_day": { "day": after.loss_day.day, "net_minor": minor_per_currency(&after.loss_day.net_minor) },
    }
}

/// Limits of one kind, as values to set. One currency has the fields that older builds know.
///
/// They know one limit, and one that replaces it later. So where a limit waits for its removal, that one is theirs, and another
/// currency's limit replaces it. An older build that decides in between drops all others, but neither of these two.
struct LimitFields {
    first: Option<Document>,
    first_later: Option<Document>,
    more: Vec<Document>,
}

fn limit_fields(limits: &BTreeMap<Currency, Limit>) -> LimitFields {
    let money = |currency: Currency, minor: i64| doc! { "minor": minor, "currency": currency.code() };
    let later = |currency: Currency, later: LaterLimit| {
        let limit = later.minor.map(|minor| money(currency, minor));
        doc! { "limit": limit, "from": DateTime::from_millis(later.from_ms) }
    };
    let is_removed = |limit: &Limit| limit.later.is_some_and(|later| later.minor.is_none());
    let removed = limits.iter().find(|(_, limit)| is_removed(limit));
    let Some((first, limit)) = removed.or_else(|| limits.iter().next()) else {
        return LimitFields { first: None, first_later: None, more: Vec::new() };
    };
    let next = limits.iter().find(|(_, other)| is_removed(limit) && !is_removed(other));
    let first_later = match (limit.later, next) {
        (Some(removal), Some((currency, next))) => {
            Some(later(*currency, LaterLimit { minor: Some(next.minor), ..removal }))
        }
        (waiting, _) => waiting.map(|waiting| later(*first, waiting)),
    };
    let more = limits.iter().filter(|(currency, _)| *currency != first).map(|(currency, limit)| {
        let later = limit.later.map(|waiting| later(*currency, waiting));
        doc! { "limit": money(*currency, limit.minor), "later": later }
    });
    LimitFields { first: Some(money(*first, limit.minor)), first_later, more: more.collect() }
}

fn minor_per_currency(amounts: &BTreeMap<Currency, i64>) -> Document {
    amounts.iter().map(|(currency, minor)| (currency.code().to_owned(), Bson::Int64(*minor))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(minor: i64, later: Option<LaterLimit>) -> Limit {
        Limit { minor, later }
    }

    fn stored(limits: &Limits) -> StoredLimits {
        let account = AccountState { limits: limits.clone(), ..AccountState::new("p") };
        let fields = decided_fields(1, &account).get_document("limits").unwrap().clone();
        bson::deserialize_from_document(fields).unwrap()
    }

    #[test]
    fn limits_of_all_currencies_are_stored() {
        let raise = LaterLimit { minor: Some(90), from_ms: 5 };
        let removal = LaterLimit { minor: None, from_ms: 6 };
        let limits = Limits {
            max_stake: [
                (Currency::Eur, limit(50, Some(removal))),
                (Currency::Usd, limit(60, Some(raise))),
                (Currency::Sek, limit(20, None)),
            ]
            .into(),
            daily_loss: [(Currency::Gbp, limit(70, Some(raise)))].into(),
        };
        let document = stored(&limits);
        assert_eq!(Limits::from(&document), limits);
        assert_eq!(document.max_stake, Some(Money::new(50, Currency::Eur)), "where older builds look");
        assert_eq!((document.max_stake_more.len(), document.daily_loss_more.len()), (2, 0));
        assert_eq!(Limits::from(&stored(&Limits::default())), Limits::default());
    }

    /// An older build drops the limits of further currencies when it decides.
    #[test]
    fn older_build_keeps_old_and_new_limit() {
        let removal = LaterLimit { minor: None, from_ms: 7 };
        for (old, new) in [(Currency::Eur, Currency::Sek), (Currency::Sek, Currency::Eur)] {
            let limits = Limits {
                max_stake: [(old, limit(50, Some(removal))), (new, limit(20, None))].into(),
                daily_loss: BTreeMap::new(),
            };
            let document = stored(&limits);
            assert_eq!(document.max_stake, Some(Money::new(50, old)), "binds until it is removed");
            let later = document.max_stake_later.and_then(|later| later.limit);
            assert_eq!(later, Some(Money::new(20, new)), "and this one follows");
            assert_eq!(Limits::from(&document), limits);
            let decided = StoredLimits { max_stake_more: Vec::new(), ..document };
            assert_eq!(Limits::from(&decided), limits);
        }
    }

    /// An older build put the limit in the new currency off, together with the removal of the old one.
    #[test]
    fn older_limit_in_new_currency_counts() {
        let money = |minor, currency| Some(Money::new(minor, currency));
        let older = StoredLimits {
            max_stake: money(50, Currency::Eur),
            max_stake_later: Some(StoredLater {
                limit: money(20, Currency::Sek),
                from: DateTime::from_millis(7),
            }),
            ..StoredLimits::default()
        };
        let removed = LaterLimit { minor: None, from_ms: 7 };
        let expected = [(Currency::Eur, limit(50, Some(removed))), (Currency::Sek, limit(20, None))];
        assert_eq!(Limits::from(&older).max_stake, BTreeMap::from(expected));
    }
}
