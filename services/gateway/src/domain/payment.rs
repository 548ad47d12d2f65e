//! Deposits and withdrawals in the public interface.

use contracts::proto::payments::v1::{
    DepositCompleted, DepositFailed, WithdrawalCompleted, WithdrawalFailed,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{answer::Answer, bet::reason};

/// An amount to deposit or to withdraw.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PaymentRequest {
    /// The amount in minor units (such as cents), more than zero.
    #[schema(example = 2000, minimum = 1)]
    pub amount_minor: i64,
    /// The currency: EUR, USD, GBP or SEK.
    #[schema(example = "EUR")]
    pub currency: String,
}

/// State of a payment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PaymentOutcome {
    /// The money has moved.
    Completed,
    /// Failed for the given `reason`. The money has not moved and will not.
    Failed,
    /// Not decided yet.
    #[default]
    Pending,
}

/// A payment and its outcome. A final result always has the same bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub(crate) struct PaymentResult {
    /// The payment's id.
    pub payment_id: String,
    /// Its state.
    pub outcome: PaymentOutcome,
    /// The amount in minor units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_minor: Option<i64>,
    /// The balance right after the payment, in minor units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance_minor: Option<i64>,
    /// The currency of all amounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// Reason for the failure, such as `declined`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A payment as the payment service returns it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct StoredPayment {
    pub(crate) payment_id: String,
    pub(crate) player_id: String,
    state: String,
    amount_minor: Option<i64>,
    balance_minor: Option<i64>,
    currency: Option<String>,
    reason: Option<String>,
    pub(crate) request_hash: Option<String>,
}

impl PaymentResult {
    /// A payment that was accepted and is not decided.
    pub(crate) fn pending(payment_id: impl Into<String>) -> Self {
        Self { payment_id: payment_id.into(), ..Self::default() }
    }

    /// Converts the payment service's record.
    pub(crate) fn from_stored(stored: StoredPayment) -> Self {
        let base = Self {
            amount_minor: stored.amount_minor,
            currency: stored.currency,
            ..Self::pending(stored.payment_id)
        };
        match stored.state.as_str() {
            "completed" => {
                Self { outcome: PaymentOutcome::Completed, balance_minor: stored.balance_minor, ..base }
            }
            "failed" => Self {
                outcome: PaymentOutcome::Failed,
                reason: Some(reason(stored.reason.as_deref())),
                ..base
            },
            _ => Self::pending(base.payment_id),
        }
    }
}

/// Answer to a completed deposit.
pub(crate) fn deposit_completed(event: &DepositCompleted) -> Answer {
    completed(&event.payment_id, event.amount.as_ref(), event.balance_after.as_ref())
}

/// Answer to a completed withdrawal.
pub(crate) fn withdrawal_completed(event: &WithdrawalCompleted) -> Answer {
    completed(&event.payment_id, event.amount.as_ref(), event.balance_after.as_ref())
}

/// Answer to a failed deposit.
pub(crate) fn deposit_failed(event: &DepositFailed) -> Answer {
    failed(&event.payment_id, event.amount.as_ref(), event.reason().as_str_name())
}

/// Answer to a failed withdrawal.
pub(crate) fn withdrawal_failed(event: &WithdrawalFailed) -> Answer {
    failed(&event.payment_id, event.amount.as_ref(), event.reason().as_str_name())
}

type WireMoney = contracts::proto::common::v1::Money;

fn completed(payment_id: &str, amount: Option<&WireMoney>, balance: Option<&WireMoney>) -> Answer {
    Answer::result(&PaymentResult {
        outcome: PaymentOutcome::Completed,
        amount_minor: amount.map(|amount| amount.minor),
        balance_minor: balance.map(|balance| balance.minor),
        currency: amount.map(|amount| amount.currency.clone()),
        ..PaymentResult::pending(payment_id)
    })
}

fn failed(payment_id: &str, amount: Option<&WireMoney>, reason_name: &str) -> Answer {
    Answer::result(&PaymentResult {
        outcome: PaymentOutcome::Failed,
        amount_minor: amount.map(|amount| amount.minor),
        currency: amount.map(|amount| amount.currency.clone()),
        reason: Some(reason(Some(reason_name))),
        ..PaymentResult::pending(payment_id)
    })
}
