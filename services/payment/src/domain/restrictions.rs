//! Limits and self-exclusions set by players. The account itself enforces them, so no bet bypasses a limit that was confirmed to
//! the player. A stricter limit counts at once. A looser one waits, so that a player who is losing cannot lift it.

use contracts::EventId;
use contracts::proto::payments::v1::RestrictionsApplied;
use money::{Money, Postings};

use super::{AccountState, DecideError, Decision, LaterLimit, LaterLimits, LimitSet, Outcome};

/// Replaces limits at `at_ms`. Those that are looser count from `from_ms`.
pub(super) fn set_limits(
    account: &AccountState,
    cause_id: &EventId,
    wished: LimitSet,
    at_ms: i64,
    from_ms: i64,
) -> Decision {
    let (now, later) = (account.limits_at(at_ms), account.later_limits);
    let stake = changed(now.max_stake, later.max_stake, wished.max_stake, from_ms);
    let loss = changed(now.daily_loss, later.daily_loss, wished.daily_loss, from_ms);
    let limits = LimitSet { max_stake: stake.0, daily_loss: loss.0 };
    let later_limits = LaterLimits { max_stake: stake.1, daily_loss: loss.1 };
    restricted(account, cause_id, AccountState { limits, later_limits, ..account.clone() })
}

/// Returns the limit in force and the one that waits, after the player wished for `wished`. A wish has all limits, so one that
/// repeats the waiting limit keeps its time: it may be about the other limit.
fn changed(
    now: Option<Money>,
    later: Option<LaterLimit>,
    wished: Option<Money>,
    from_ms: i64,
) -> (Option<Money>, Option<LaterLimit>) {
    let is_looser = now.is_some_and(|now| {
        wished.is_none_or(|wished| wished.currency() != now.currency() || wished.minor() > now.minor())
    });
    if !is_looser {
        return (wished, None);
    }
    let waiting = later.filter(|later| later.limit == wished);
    (now, Some(waiting.unwrap_or(LaterLimit { limit: wished, from_ms })))
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
