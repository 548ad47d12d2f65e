//! Wagers: stake and payout in one step.

use contracts::RejectReason;
use contracts::proto::payments::v1::{WagerApplied, WagerRejected};
use money::{Account, Money, Posting, Postings};

use super::{AccountState, DecideError, Decision, Outcome, Wager};

pub(super) fn decide(account: &AccountState, wager: &Wager, at_ms: i64) -> Result<Decision, DecideError> {
    if wager.stake.currency() != wager.payout.currency() {
        return Err(DecideError::TwoCurrencies);
    }
    if !wager.stake.is_positive() || wager.payout.is_negative() {
        return Err(DecideError::Sign);
    }
    match refusal(account, wager, at_ms) {
        Some(reason) => Ok(reject(account, wager, reason)),
        None => apply(account, wager, at_ms),
    }
}

/// Returns the reason for a rejection. The checks are in the order in which a player would want to know.
fn refusal(account: &AccountState, wager: &Wager, at_ms: i64) -> Option<RejectReason> {
    let currency = wager.stake.currency();
    let Some(balance) = account.balance(currency) else { return Some(RejectReason::CurrencyNotHeld) };
    if account.is_excluded(at_ms) {
        return Some(RejectReason::SelfExcluded);
    }
    let limits = account.limits_at(currency, at_ms);
    if limits.max_stake.is_some_and(|limit| wager.stake.minor() > limit.minor()) {
        return Some(RejectReason::LimitExceeded);
    }
    // Counts the stake as lost whatever the result is. Otherwise a limit would let wins through and stop losses.
    let at_risk = account.lost_today(currency, at_ms).saturating_add(wager.stake.minor());
    if limits.daily_loss.is_some_and(|limit| at_risk > limit.minor()) {
        return Some(RejectReason::LimitExceeded);
    }
    (wager.stake.minor() > balance.minor()).then_some(RejectReason::InsufficientFunds)
}

fn reject(account: &AccountState, wager: &Wager, reason: RejectReason) -> Decision {
    let balance = account.balance(wager.stake.currency());
    let message = WagerRejected {
        wager_id: wager.wager_id.to_string(),
        player_id: account.player_id.clone(),
        game: wager.game.clone(),
        stake: Some(wager.stake.into()),
        reason: reason.into(),
        balance: balance.map(Into::into),
    };
    Decision {
        outcome: Outcome::Rejected(reason),
        postings: Postings::none(),
        balance_after: balance,
        account: account.clone(),
        message: Some(message.into()),
        pending: None,
    }
}

fn apply(account: &AccountState, wager: &Wager, at_ms: i64) -> Result<Decision, DecideError> {
    let player = Account::Player(account.player_id.clone());
    let house = Account::House(wager.game.clone());
    let minus = |amount: Money| amount.checked_neg().map_err(|_| DecideError::Overflow);
    let mut legs =
        vec![Posting::new(player.clone(), minus(wager.stake)?), Posting::new(house.clone(), wager.stake)];
    if wager.payout.is_positive() {
        legs.push(Posting::new(house, minus(wager.payout)?));
        legs.push(Posting::new(player, wager.payout));
    }
    let mut after = account.clone();
    after.post(&legs)?;
    let lost = wager.stake.checked_sub(wager.payout).map_err(|_| DecideError::Overflow)?;
    after.add_loss(lost.currency(), lost.minor(), at_ms);
    let balance_after = after.balance(wager.stake.currency());
    let message = WagerApplied {
        wager_id: wager.wager_id.to_string(),
        player_id: account.player_id.clone(),
        game: wager.game.clone(),
        stake: Some(wager.stake.into()),
        payout: Some(wager.payout.into()),
        balance_after: balance_after.map(Into::into),
        seq: account.next_seq,
    };
    Ok(Decision {
        outcome: Outcome::Applied,
        postings: Postings::balanced(legs).map_err(DecideError::Unbalanced)?,
        balance_after,
        account: after,
        message: Some(message.into()),
        pending: None,
    })
}
