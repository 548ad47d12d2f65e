//! What an account answers.

use contracts::{Message, RejectReason};
use money::{Money, MoneyError, Postings};

use super::{AccountState, PendingPayment};

/// A decision: written once, for ever. A rejection is one too.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What was decided.
    pub outcome: Outcome,
    /// What moves; nothing for a rejection.
    pub postings: Postings,
    /// The balance that the decision is about, after it.
    pub balance_after: Option<Money>,
    /// The account after it.
    pub account: AccountState,
    /// What is told to the world; nothing while the provider has not answered. `None` exactly when pending.
    pub message: Option<Message>,
    /// The payment that the provider has to be asked about from now on.
    pub pending: Option<PendingPayment>,
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Applied,
    /// It waits for the provider.
    Pending,
    /// The answer is no.
    Rejected(RejectReason),
}

impl Decision {
    /// Whether the answer is no at once. A payment that the provider declined is not: it may give money back.
    #[must_use]
    pub fn is_rejection(&self) -> bool {
        matches!(self.outcome, Outcome::Rejected(_))
    }
}

/// A command that cannot be decided: its record is parked, for somebody to look at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecideError {
    /// A sum does not fit 64 bits.
    #[error("a sum does not fit 64 bits of minor units")]
    Overflow,
    /// The postings of a decision do not balance: a mistake of ours, caught before it is written.
    #[error("the postings do not balance: {0}")]
    Unbalanced(MoneyError),
    /// A balance would be negative: a mistake of ours, caught before it is written.
    #[error("a balance would be negative")]
    NegativeBalance,
    /// Stake and payout, or limit and amount, are in two currencies.
    #[error("stake and payout are in two currencies")]
    TwoCurrencies,
    /// A stake, payout or amount is on the wrong side of zero.
    #[error("an amount is on the wrong side of zero")]
    Sign,
    /// A self-exclusion that ends before it is applied.
    #[error("the self-exclusion has ended already")]
    ExclusionIsOver,
    /// The provider speaks of another amount than we asked for.
    #[error("the provider reports another amount than the payment's")]
    ProviderAmount,
}
