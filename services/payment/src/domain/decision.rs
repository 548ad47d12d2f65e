//! Decisions, and errors of commands that cannot be decided.

use contracts::{Message, RejectReason};
use money::{Money, MoneyError, Postings};

use super::{AccountState, PendingPayment};

/// Result of a command. It is written once and never changes. A rejection is a decision too.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Outcome of the command.
    pub outcome: Outcome,
    /// Postings, empty for a rejection.
    pub postings: Postings,
    /// Balance after the decision, in the currency that the decision is about.
    pub balance_after: Option<Money>,
    /// Account after the decision.
    pub account: AccountState,
    /// Event to publish. `None` exactly when the outcome is pending, while the provider has not answered.
    pub message: Option<Message>,
    /// Payment to request from the provider from now on.
    pub pending: Option<PendingPayment>,
}

/// Outcome of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The command was carried out.
    Applied,
    /// The payment waits for the provider.
    Pending,
    /// The command was rejected.
    Rejected(RejectReason),
}

impl Decision {
    /// Returns true for an immediate rejection. A payment declined by the provider does not count, as it may return money.
    #[must_use]
    pub fn is_rejection(&self) -> bool {
        matches!(self.outcome, Outcome::Rejected(_))
    }
}

/// Reason why a command cannot be decided. Its record goes to the dead letters, where an operator inspects it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecideError {
    /// A sum does not fit into 64 bits.
    #[error("a sum does not fit into 64 bits")]
    Overflow,
    /// The postings of a decision do not sum to zero. This is a bug in this service, caught before the write.
    #[error("the postings do not balance: {0}")]
    Unbalanced(MoneyError),
    /// A balance would be negative. This is a bug in this service, caught before the write.
    #[error("a balance would be negative")]
    NegativeBalance,
    /// Stake and payout are in two currencies.
    #[error("stake and payout are in two currencies")]
    TwoCurrencies,
    /// A stake or amount is not positive, or a payout is negative.
    #[error("a stake or an amount is not positive, or a payout is negative")]
    Sign,
    /// The self-exclusion ends before it is applied.
    #[error("the self-exclusion ends before it is applied")]
    ExclusionIsOver,
    /// The report has another amount than the payment.
    #[error("the report has another amount than the payment")]
    ProviderAmount,
}
