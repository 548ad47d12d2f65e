//! Commands to an account, with the facts from earlier decisions that they need.

use contracts::EventId;
use money::{Money, Posting};

use super::LimitSet;

/// Parsed command, joined with the earlier decision that it refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Takes a stake and pays a payout in one step.
    ApplyWager(Wager),
    /// Reverses a wager, or forbids one that has not arrived.
    VoidWager(WagerVoid),
    /// Requests a deposit or a withdrawal.
    RequestPayment {
        /// Id of the payment, which is the id of the command.
        payment_id: EventId,
        /// Direction and amount.
        payment: PendingPayment,
    },
    /// Settles a payment as reported by the provider or an operator.
    SettlePayment(ProviderReport),
    /// Replaces all limits of the player: a stricter one at once, a looser one after a wait.
    SetLimits {
        /// Event that requested the limits.
        cause_id: EventId,
        /// The new limits.
        limits: LimitSet,
        /// Wait of a looser limit, in milliseconds.
        loosen_after_ms: i64,
    },
    /// Excludes the player from bets and deposits.
    SelfExclude {
        /// Event that requested the exclusion.
        cause_id: EventId,
        /// End of the exclusion, in milliseconds since the epoch.
        until_ms: i64,
    },
}

/// Stake and payout of one bet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wager {
    /// Id of the wager.
    pub wager_id: EventId,
    /// Game whose house account is the other side.
    pub game: String,
    /// Amount taken from the player.
    pub stake: Money,
    /// Amount paid to the player, in the same currency.
    pub payout: Money,
}

/// Wager to reverse, with its effects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WagerVoid {
    /// Id of the wager.
    pub wager_id: EventId,
    /// Reason given by the operator.
    pub reason: String,
    /// Postings of the wager. Empty when it was rejected or has not arrived.
    pub moved: Vec<Posting>,
    /// Time of the wager's decision, in milliseconds since the epoch. `None` when it has not arrived.
    pub decided_at_ms: Option<i64>,
}

/// Direction of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaymentKind {
    /// From the player's card to the account.
    Deposit,
    /// From the account to the player.
    Withdrawal,
}

/// Payment that an earlier decision passed on to the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingPayment {
    /// Direction.
    pub kind: PaymentKind,
    /// Amount.
    pub amount: Money,
}

/// Reported outcome of a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderReport {
    /// Id of the payment.
    pub payment_id: EventId,
    /// The payment as it was requested.
    pub pending: PendingPayment,
    /// True when the money moved. False when it did not and never will.
    pub captured: bool,
    /// The provider's reference for the payment.
    pub provider_reference: String,
    /// Amount in the report.
    pub amount: Money,
}
