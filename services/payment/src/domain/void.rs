//! Reversal of a wager. It is never rejected (I11), and no balance goes below zero (I6). When the player has already spent part
//! of a reversed win, `suspense` owes that part, and an operator finds it there.

use contracts::proto::payments::v1::WagerVoided;
use money::{Account, Money, Posting, Postings};

use super::{AccountState, DecideError, Decision, Outcome, WagerVoid};

pub(super) fn decide(account: &AccountState, void: &WagerVoid) -> Result<Decision, DecideError> {
    let mut legs = void
        .moved
        .iter()
        .map(|leg| Ok(Posting::new(leg.account.clone(), leg.amount.checked_neg()?)))
        .collect::<Result<Vec<_>, money::MoneyError>>()
        .map_err(|_| DecideError::Overflow)?;
    if let Some(missing) = shortfall(account, &legs)? {
        legs.push(Posting::new(Account::Player(account.player_id.clone()), missing));
        legs.push(Posting::new(Account::Suspense, missing.checked_neg().map_err(|_| DecideError::Overflow)?));
    }
    let mut after = account.clone();
    after.post(&legs)?;
    // Uses the wager's postings and not the legs, because what `suspense` pays for the player is not the player's loss.
    if let Some(at_ms) = void.decided_at_ms {
        after.reverse_loss(&void.moved, at_ms);
    }
    let reversed = applied(account, &void.moved)?;
    let balance_after = legs.first().and_then(|leg| after.balance(leg.amount.currency()));
    let message = WagerVoided {
        wager_id: void.wager_id.to_string(),
        player_id: account.player_id.clone(),
        balance_after: balance_after.map(Into::into),
        reason: void.reason.clone(),
        reversed_stake: reversed.map(|(stake, _)| stake.into()),
        reversed_payout: reversed.map(|(_, payout)| payout.into()),
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

/// Returns the full stake and payout of the wager, even when `suspense` pays for a part. `None` when the wager moved nothing.
fn applied(account: &AccountState, moved: &[Posting]) -> Result<Option<(Money, Money)>, DecideError> {
    let own = Account::Player(account.player_id.clone());
    let Some(currency) = moved.first().map(|leg| leg.amount.currency()) else { return Ok(None) };
    let (mut stake, mut payout) = (Money::zero(currency), Money::zero(currency));
    for leg in moved.iter().filter(|leg| leg.account == own) {
        if leg.amount.is_negative() {
            stake = stake.checked_sub(leg.amount).map_err(|_| DecideError::Overflow)?;
        } else {
            payout = payout.checked_add(leg.amount).map_err(|_| DecideError::Overflow)?;
        }
    }
    Ok(Some((stake, payout)))
}

/// Returns what the player would owe. A wager has one currency, so its reversal has one too.
fn shortfall(account: &AccountState, legs: &[Posting]) -> Result<Option<Money>, DecideError> {
    let own = Account::Player(account.player_id.clone());
    let Some(currency) = legs.first().map(|leg| leg.amount.currency()) else { return Ok(None) };
    let mut balance = account.balance(currency).unwrap_or(Money::zero(currency));
    for leg in legs.iter().filter(|leg| leg.account == own) {
        balance = balance.checked_add(leg.amount).map_err(|_| DecideError::Overflow)?;
    }
    if balance.is_negative() {
        return balance.checked_neg().map(Some).map_err(|_| DecideError::Overflow);
    }
    Ok(None)
}
