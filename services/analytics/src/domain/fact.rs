//! Facts: the contribution of one event to the figures.

use contracts::proto::bets::v1::BetVoided;
use contracts::proto::common::v1::Money;
use contracts::{Game, Message};

use super::bucket::{Bucket, Level};

/// Game of facts without a game, so that every fact has all three parts of a bucket.
pub const NO_GAME: &str = "-";

/// Kind of a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A bet was settled: stake and payout were applied.
    BetSettled,
    /// A bet was rejected.
    BetRejected,
    /// A bet was voided before anything was applied. Nothing is subtracted.
    BetVoided,
    /// A settled bet was voided. Its stake and payout are subtracted.
    BetReversed,
    /// A deposit was completed.
    DepositCompleted,
    /// A deposit failed.
    DepositFailed,
    /// A withdrawal was completed.
    WithdrawalCompleted,
    /// A withdrawal failed.
    WithdrawalFailed,
    /// A player registered.
    PlayerRegistered,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::BetSettled,
        Self::BetRejected,
        Self::BetVoided,
        Self::BetReversed,
        Self::DepositCompleted,
        Self::DepositFailed,
        Self::WithdrawalCompleted,
        Self::WithdrawalFailed,
        Self::PlayerRegistered,
    ];

    /// Name in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BetSettled => "bet_settled",
            Self::BetRejected => "bet_rejected",
            Self::BetVoided => "bet_voided",
            Self::BetReversed => "bet_reversed",
            Self::DepositCompleted => "deposit_completed",
            Self::DepositFailed => "deposit_failed",
            Self::WithdrawalCompleted => "withdrawal_completed",
            Self::WithdrawalFailed => "withdrawal_failed",
            Self::PlayerRegistered => "player_registered",
        }
    }

    /// Returns the kind with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// One fact. Amounts are minor units of its currency: `in` came to the house, `out` left it. Both are negative if a void reversed
/// them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Kind of the event.
    pub kind: Kind,
    /// Time of the event itself, so that a replay falls into the same bucket.
    pub at_ms: i64,
    /// Player whom the event is about.
    pub player_id: String,
    /// Name of a known game, [`Game::UNKNOWN`] for every other name, or [`NO_GAME`].
    pub game: String,
    /// Currency code.
    pub currency: String,
    /// Stake or deposit.
    pub in_minor: i64,
    /// Payout or withdrawal.
    pub out_minor: i64,
}

/// Error: an event lacks a field that its contract requires, so it cannot be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incomplete {
    /// Missing field.
    pub field: &'static str,
}

impl Fact {
    /// Returns the slot that this fact belongs to.
    #[must_use]
    pub fn bucket(&self) -> Bucket {
        Bucket {
            start_s: Level::Slot.start_s(self.at_ms),
            game: self.game.clone(),
            currency: self.currency.clone(),
        }
    }

    /// Returns the fact of an event, or `None` for events that are not counted.
    ///
    /// # Errors
    /// [`Incomplete`] when an amount is missing.
    pub fn of(message: &Message, at_ms: i64) -> Result<Option<Self>, Incomplete> {
        let fact = |kind, player_id: &str, game: &str, money: &Money, in_minor, out_minor| Self {
            kind,
            at_ms,
            player_id: player_id.to_owned(),
            game: game.to_owned(),
            currency: money.currency.clone(),
            in_minor,
            out_minor,
        };
        Ok(Some(match message {
            Message::BetSettled(bet) => {
                let (stake, payout) =
                    (amount(bet.stake.as_ref(), "stake")?, amount(bet.payout.as_ref(), "payout")?);
                let game = Game::label(&bet.game);
                fact(Kind::BetSettled, &bet.player_id, game, stake, stake.minor, payout.minor)
            }
            Message::BetRejected(bet) => {
                let stake = amount(bet.stake.as_ref(), "stake")?;
                fact(Kind::BetRejected, &bet.player_id, Game::label(&bet.game), stake, 0, 0)
            }
            Message::BetVoided(bet) => {
                let stake = amount(bet.stake.as_ref(), "stake")?;
                let (kind, in_minor, out_minor) = taken_back(bet);
                fact(kind, &bet.player_id, Game::label(&bet.game), stake, in_minor, out_minor)
            }
            Message::DepositCompleted(payment) => {
                let money = amount(payment.amount.as_ref(), "amount")?;
                fact(Kind::DepositCompleted, &payment.player_id, NO_GAME, money, money.minor, 0)
            }
            Message::DepositFailed(payment) => fact(
                Kind::DepositFailed,
                &payment.player_id,
                NO_GAME,
                amount(payment.amount.as_ref(), "amount")?,
                0,
                0,
            ),
            Message::WithdrawalCompleted(payment) => {
                let money = amount(payment.amount.as_ref(), "amount")?;
                fact(Kind::WithdrawalCompleted, &payment.player_id, NO_GAME, money, 0, money.minor)
            }
            Message::WithdrawalFailed(payment) => {
                let money = amount(payment.amount.as_ref(), "amount")?;
                fact(Kind::WithdrawalFailed, &payment.player_id, NO_GAME, money, 0, 0)
            }
            Message::PlayerRegistered(player) => Self {
                kind: Kind::PlayerRegistered,
                at_ms,
                player_id: player.player_id.clone(),
                game: NO_GAME.to_owned(),
                currency: player.currency.clone(),
                in_minor: 0,
                out_minor: 0,
            },
            _ => return Ok(None),
        }))
    }
}

/// Returns the amounts that a void subtracts. A void without amounts (nothing applied, or an older build) subtracts nothing.
fn taken_back(bet: &BetVoided) -> (Kind, i64, i64) {
    let minor = |money: Option<&Money>| money.map_or(0, |money| money.minor.saturating_neg());
    match bet.reversed_stake.as_ref() {
        None => (Kind::BetVoided, 0, 0),
        stake => (Kind::BetReversed, minor(stake), minor(bet.reversed_payout.as_ref())),
    }
}

fn amount<'a>(money: Option<&'a Money>, field: &'static str) -> Result<&'a Money, Incomplete> {
    money.ok_or(Incomplete { field })
}
