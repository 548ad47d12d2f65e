//! Deposits and withdrawals. One decision requests a payment and a second settles it, as the provider answers in between.
//!
//! A withdrawal leaves the balance with its request and waits in `suspense`, so it cannot be spent twice.

use contracts::proto::payments::v1::{
    DepositCompleted, DepositFailed, WithdrawalCompleted, WithdrawalFailed,
};
use contracts::{EventId, Message, RejectReason, TRANSFER_MINOR_MAX};
use money::{Account, Money, Posting, Postings};

use super::{AccountState, DecideError, Decision, Outcome, PaymentKind, PendingPayment, ProviderReport};

/// Name of the provider in postings.
pub const PROVIDER: &str = "card";

/// Decides the request. The pool contacts the provider afterwards.
pub(super) fn request(
    account: &AccountState,
    payment_id: &EventId,
    payment: PendingPayment,
    at_ms: i64,
) -> Result<Decision, DecideError> {
    if !payment.amount.is_positive() {
        return Err(DecideError::Sign);
    }
    if let Some(reason) = refusal(account, payment, at_ms) {
        return Ok(Decision {
            outcome: Outcome::Rejected(reason),
            postings: Postings::none(),
            balance_after: account.balance(payment.amount.currency()),
            account: account.clone(),
            message: Some(failed(account, payment_id, payment, reason)),
            pending: None,
        });
    }
    let legs = match payment.kind {
        PaymentKind::Deposit => Vec::new(),
        PaymentKind::Withdrawal => transfer(player(account), Account::Suspense, payment.amount)?,
    };
    decided(account, payment, legs, Outcome::Pending, |_| None)
}

fn refusal(account: &AccountState, payment: PendingPayment, at_ms: i64) -> Option<RejectReason> {
    let amount = payment.amount;
    if amount.minor() > TRANSFER_MINOR_MAX {
        return Some(RejectReason::LimitExceeded);
    }
    match payment.kind {
        // A deposit opens its currency, because the command may overtake the registration that would open it.
        PaymentKind::Deposit => account.is_excluded(at_ms).then_some(RejectReason::SelfExcluded),
        // Players may always withdraw what they hold, even when excluded.
        PaymentKind::Withdrawal => match account.balance(amount.currency()) {
            None => Some(RejectReason::CurrencyNotHeld),
            Some(held) => (amount.minor() > held.minor()).then_some(RejectReason::InsufficientFunds),
        },
    }
}

/// Decides a report about a payment. It is never rejected, but a report of another amount is an error.
pub(super) fn settle(account: &AccountState, report: &ProviderReport) -> Result<Decision, DecideError> {
    let pending = report.pending;
    if report.amount != pending.amount {
        return Err(DecideError::ProviderAmount);
    }
    let card = Account::Provider(PROVIDER.to_owned());
    let legs = match (pending.kind, report.captured) {
        (PaymentKind::Deposit, true) => transfer(card, player(account), pending.amount)?,
        (PaymentKind::Deposit, false) => Vec::new(),
        (PaymentKind::Withdrawal, true) => transfer(Account::Suspense, card, pending.amount)?,
        (PaymentKind::Withdrawal, false) => transfer(Account::Suspense, player(account), pending.amount)?,
    };
    decided(account, pending, legs, Outcome::Applied, |balance_after| {
        Some(if report.captured {
            completed(account, report, balance_after)
        } else {
            failed(account, &report.payment_id, pending, RejectReason::ProviderDeclined)
        })
    })
}

fn decided(
    account: &AccountState,
    payment: PendingPayment,
    legs: Vec<Posting>,
    outcome: Outcome,
    message: impl FnOnce(Money) -> Option<Message>,
) -> Result<Decision, DecideError> {
    let mut after = account.clone();
    after.post(&legs)?;
    let currency = payment.amount.currency();
    let balance_after = after.balance(currency).unwrap_or(Money::zero(currency));
    Ok(Decision {
        outcome,
        postings: Postings::balanced(legs).map_err(DecideError::Unbalanced)?,
        balance_after: Some(balance_after),
        account: after,
        message: message(balance_after),
        pending: (outcome == Outcome::Pending).then_some(payment),
    })
}

fn player(account: &AccountState) -> Account {
    Account::Player(account.player_id.clone())
}

fn transfer(from: Account, to: Account, amount: Money) -> Result<Vec<Posting>, DecideError> {
    let taken = amount.checked_neg().map_err(|_| DecideError::Overflow)?;
    Ok(vec![Posting::new(from, taken), Posting::new(to, amount)])
}

fn completed(account: &AccountState, report: &ProviderReport, balance_after: Money) -> Message {
    let payment_id = report.payment_id.to_string();
    let player_id = account.player_id.clone();
    let amount = Some(report.pending.amount.into());
    let balance_after = Some(balance_after.into());
    let provider_reference = report.provider_reference.clone();
    match report.pending.kind {
        PaymentKind::Deposit => {
            DepositCompleted { payment_id, player_id, amount, balance_after, provider_reference }.into()
        }
        PaymentKind::Withdrawal => {
            WithdrawalCompleted { payment_id, player_id, amount, balance_after, provider_reference }.into()
        }
    }
}

fn failed(account: &AccountState, id: &EventId, payment: PendingPayment, reason: RejectReason) -> Message {
    let payment_id = id.to_string();
    let player_id = account.player_id.clone();
    let amount = Some(payment.amount.into());
    let reason = reason.into();
    match payment.kind {
        PaymentKind::Deposit => DepositFailed { payment_id, player_id, amount, reason }.into(),
        PaymentKind::Withdrawal => WithdrawalFailed { payment_id, player_id, amount, reason }.into(),
    }
}
