//! Limits and self-exclusions set by players. The account itself enforces them, so no bet bypasses a limit that was confirmed to
//! the player. A stricter limit counts at once. A looser one waits, so that a player who is losing cannot lift it.
//!
//! Each currency has its own limits, because a limit binds only bets in its currency. A wish names one currency and has all
//! limits. In its currency, a limit counts at once if it is the first one or stricter, and waits if it is looser. The wish also
//! removes the limits of other currencies. A removal is looser, so it waits.

use std::collections::BTreeMap;

use contracts::EventId;
use contracts::proto::payments::v1::RestrictionsApplied;
use money::{Currency, Money, Postings};

use super::{AccountState, DecideError, Decision, LaterLimit, Limit, LimitSet, Limits, Outcome};

/// Replaces limits at `at_ms`. Those that are looser count from `from_ms`.
pub(super) fn set_limits(
    account: &AccountState,
    cause_id: &EventId,
    wished: LimitSet,
    at_ms: i64,
    from_ms: i64,
) -> Decision {
    let now = &account.limits;
    let limits = Limits {
        max_stake: changed(&now.max_stake, wished.max_stake, at_ms, from_ms),
        daily_loss: changed(&now.daily_loss, wished.daily_loss, at_ms, from_ms),
    };
    restricted(account, cause_id, AccountState { limits, ..account.clone() })
}

/// Returns the limits of one kind in all currencies, after the player wished for `wished`.
fn changed(
    now: &BTreeMap<Currency, Limit>,
    wished: Option<Money>,
    at_ms: i64,
    from_ms: i64,
) -> BTreeMap<Currency, Limit> {
    let in_currency = |currency: Currency| {
        let wished = wished.filter(|wished| wished.currency() == currency).map(Money::minor);
        changed_limit(now.get(&currency).copied(), wished, at_ms, from_ms).map(|limit| (currency, limit))
    };
    Currency::ALL.into_iter().filter_map(in_currency).collect()
}

/// Returns the limit in one currency. A wish that repeats the waiting limit keeps its time. It has all limits, so it may be about
/// another one.
fn changed_limit(limit: Option<Limit>, wished: Option<i64>, at_ms: i64, from_ms: i64) -> Option<Limit> {
    let in_force = limit.and_then(|limit| limit.minor_at(at_ms));
    match in_force {
        Some(minor) if wished.is_none_or(|wished| wished > minor) => {
            let waiting = limit.and_then(|limit| limit.later).filter(|later| later.minor == wished);
            Some(Limit { minor, later: Some(waiting.unwrap_or(LaterLimit { minor: wished, from_ms })) })
        }
        _ => wished.map(|minor| Limit { minor, later: None }),
    }
}

/// Never shortens an exclusion, in whatever order the events arrive. An exclusion that has ended already is an error.
pub(super) fn self_exclude(
    account: &AccountState,
    cause_id: &EventId,
    until_ms: i64,
    at_ms: i64,
) -> Result<Decision, DecideError> {
    if until_ms <= at_ms {
        return Err(DecideError::ExclusionIsOver);
    }
    let self_excluded_until_ms = account.self_excluded_until_ms.max(Some(until_ms));
    Ok(restricted(account, cause_id, AccountState { self_excluded_until_ms, ..account.clone() }))
}

fn restricted(before: &AccountState, cause_id: &EventId, after: AccountState) -> Decision {
    let message = RestrictionsApplied { player_id: before.player_id.clone(), cause_id: cause_id.to_string() };
    Decision {
        outcome: Outcome::Applied,
        postings: Postings::none(),
        balance_after: None,
        account: after,
        message: Some(message.into()),
        pending: None,
    }
}
