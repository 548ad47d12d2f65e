//! What an account can be asked, with everything that is known about it from earlier decisions.

use contracts::EventId;
use money::{Money, Posting};

use super::LimitSet;

/// A command, already understood and joined with the earlier decision it refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Take a stake and pay a payout in one step.
    ApplyWager(Wager),
    /// Undo a wager, or forbid one that has not come.
    VoidWager(WagerVoid),
    /// Ask the provider for money, or to pay some out.
    RequestPayment {
        /// The command's own id is the payment's.
        payment_id: EventId,
        /// In or out, and how much.
        payment: PendingPayment,
    },
    /// The provider told how a payment ended.
    SettlePayment(ProviderReport),
    /// The player's own limits, all of them.
    SetLimits {
        /// The event that asked for them.
        cause_id: EventId,
        /// All of them.
        limits: LimitSet,
    },
    /// No bets or deposits before that moment.
    SelfExclude {
        /// The event that asked for it.
        cause_id: EventId,
        /// Until when, in milliseconds since the epoch.
        until_ms: i64,
    },
}

/// Stake and payout of one bet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wager {
    /// The bet.
    pub wager_id: EventId,
    /// Whose house account is the other side.
    pub game: String,
    /// What is taken.
    pub stake: Money,
    /// What is paid, same currency.
    pub payout: Money,
}

/// A wager to undo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WagerVoid {
    /// Which wager.
    pub wager_id: EventId,
    /// The operator's words.
    pub reason: String,
    /// What the wager had moved; empty when it was rejected or has not come.
    pub moved: Vec<Posting>,
    /// When the wager was decided, in milliseconds since the epoch; `None` when it has not come.
    pub decided_at_ms: Option<i64>,
}

/// In or out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaymentKind {
    /// From the player's card to the account.
    Deposit,
    /// From the account to the player.
    Withdrawal,
}

/// A payment that an earlier decision left with the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingPayment {
    /// In or out.
    pub kind: PaymentKind,
    /// How much.
    pub amount: Money,
}

/// How the provider ended a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderReport {
    /// Which payment.
    pub payment_id: EventId,
    /// What we had asked for.
    pub pending: PendingPayment,
    /// True: the money moved. False: it did not, and will not.
    pub captured: bool,
    /// The provider's own name for it.
    pub provider_reference: String,
    /// What the provider says it was about.
    pub amount: Money,
}
