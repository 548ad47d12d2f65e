//! Limits and self-exclusions set by players. The account itself enforces them, so no bet bypasses a limit that was confirmed to
//! the player.

use contracts::EventId;
use contracts::proto::payments::v1::RestrictionsApplied;
use money::Postings;

use super::{AccountState, DecideError, Decision, LimitSet, Outcome};

pub(super) fn set_limits(account: &AccountState, cause_id: &EventId, limits: LimitSet) -> Decision {
    restricted(account, cause_id, AccountState { limits, ..account.clone() })
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
