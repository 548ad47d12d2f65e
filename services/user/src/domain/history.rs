//! Entries of a player's history, built from the events that end a bet or a payment.

use contracts::proto::{bets::v1 as bets, common, payments::v1 as payments};
use contracts::{FieldError, RejectReason, required_money};
use money::Money;

/// Kind of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A bet.
    Bet,
    /// Money in.
    Deposit,
    /// Money out.
    Withdrawal,
}

impl Kind {
    /// Name in documents and over HTTP.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bet => "bet",
            Self::Deposit => "deposit",
            Self::Withdrawal => "withdrawal",
        }
    }
}

/// Outcome of a bet or payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A bet that was played.
    Settled,
    /// A bet that was rejected.
    Rejected,
    /// A bet that was voided.
    Voided,
    /// A payment that completed.
    Completed,
    /// A payment that failed.
    Failed,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 5] = [Self::Settled, Self::Rejected, Self::Voided, Self::Completed, Self::Failed];

    /// Name in documents and over HTTP.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Rejected => "rejected",
            Self::Voided => "voided",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }

    /// True when it replaces a known outcome. Only a void does, in either order of arrival.
    pub fn supersedes(self, known: Self) -> bool {
        self == Self::Voided && known != Self::Voided
    }
}

/// One entry of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Id of the bet or payment.
    pub id: String,
    /// Id of the player.
    pub player_id: String,
    /// Kind of the entry.
    pub kind: Kind,
    /// Outcome of the bet or payment.
    pub outcome: Outcome,
    /// The game, for a bet.
    pub game: Option<String>,
    /// The stake, or the amount paid in or out.
    pub amount: Money,
    /// Payout of a bet.
    pub payout: Option<Money>,
    /// The balance right afterwards, if the event has it.
    pub balance_after: Option<Money>,
    /// The symbols, for a settled bet.
    pub reels: Vec<String>,
    /// Reason for a rejection, a failure or a void.
    pub reason: Option<String>,
}

impl Entry {
    fn bare(id: &str, player_id: &str, kind: Kind, outcome: Outcome, amount: Money) -> Self {
        Self {
            id: id.to_owned(),
            player_id: player_id.to_owned(),
            kind,
            outcome,
            game: None,
            amount,
            payout: None,
            balance_after: None,
            reels: Vec::new(),
            reason: None,
        }
    }

    fn bet(
        id: &str,
        player_id: &str,
        outcome: Outcome,
        game: &str,
        stake: Option<&common::v1::Money>,
    ) -> Result<Self, FieldError> {
        let stake = required_money("stake", stake)?;
        Ok(Self { game: Some(game.to_owned()), ..Self::bare(id, player_id, Kind::Bet, outcome, stake) })
    }

    /// Entry of a settled bet.
    pub fn settled(event: &bets::BetSettled) -> Result<Self, FieldError> {
        let entry =
            Self::bet(&event.bet_id, &event.player_id, Outcome::Settled, &event.game, event.stake.as_ref())?;
        Ok(Self {
            payout: Some(required_money("payout", event.payout.as_ref())?),
            balance_after: Some(required_money("balanceAfter", event.balance_after.as_ref())?),
            reels: event.reels.clone(),
            ..entry
        })
    }

    /// Entry of a rejected bet.
    pub fn rejected(event: &bets::BetRejected) -> Result<Self, FieldError> {
        let entry =
            Self::bet(&event.bet_id, &event.player_id, Outcome::Rejected, &event.game, event.stake.as_ref())?;
        Ok(Self { reason: Some(reason(event.reason())), ..entry })
    }

    /// Entry of a voided bet.
    pub fn voided(event: &bets::BetVoided) -> Result<Self, FieldError> {
        let entry =
            Self::bet(&event.bet_id, &event.player_id, Outcome::Voided, &event.game, event.stake.as_ref())?;
        Ok(Self { reason: Some(event.reason.clone()), ..entry })
    }

    /// Entry of a completed deposit.
    pub fn deposit_completed(event: &payments::DepositCompleted) -> Result<Self, FieldError> {
        let paid = required_money("amount", event.amount.as_ref())?;
        let entry = Self::bare(&event.payment_id, &event.player_id, Kind::Deposit, Outcome::Completed, paid);
        Ok(Self {
            balance_after: Some(required_money("balanceAfter", event.balance_after.as_ref())?),
            ..entry
        })
    }

    /// Entry of a failed deposit.
    pub fn deposit_failed(event: &payments::DepositFailed) -> Result<Self, FieldError> {
        let wanted = required_money("amount", event.amount.as_ref())?;
        let entry = Self::bare(&event.payment_id, &event.player_id, Kind::Deposit, Outcome::Failed, wanted);
        Ok(Self { reason: Some(reason(event.reason())), ..entry })
    }

    /// Entry of a completed withdrawal.
    pub fn withdrawal_completed(event: &payments::WithdrawalCompleted) -> Result<Self, FieldError> {
        let paid = required_money("amount", event.amount.as_ref())?;
        let entry =
            Self::bare(&event.payment_id, &event.player_id, Kind::Withdrawal, Outcome::Completed, paid);
        Ok(Self {
            balance_after: Some(required_money("balanceAfter", event.balance_after.as_ref())?),
            ..entry
        })
    }

    /// Entry of a failed withdrawal.
    pub fn withdrawal_failed(event: &payments::WithdrawalFailed) -> Result<Self, FieldError> {
        let wanted = required_money("amount", event.amount.as_ref())?;
        let entry =
            Self::bare(&event.payment_id, &event.player_id, Kind::Withdrawal, Outcome::Failed, wanted);
        Ok(Self { reason: Some(reason(event.reason())), ..entry })
    }
}

fn reason(reason: RejectReason) -> String {
    reason.as_str_name().to_owned()
}
