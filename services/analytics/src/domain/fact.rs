//! Facts: the contribution of one event to the figures.

use contracts::proto::bets::v1::BetVoided;
use contracts::proto::common::v1::Money;
use contracts::{FieldError, Game, Message, required_money};

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

impl Fact {
    /// Returns the bucket of ten seconds that this fact belongs to.
    #[must_use]
    pub fn bucket(&self) -> Bucket {
        Bucket {
            start_s: Level::TenSeconds.start_s(self.at_ms),
            game: self.game.clone(),
            currency: self.currency.clone(),
        }
    }

    /// Returns the fact of an event, or `None` for events that are not counted.
    ///
    /// # Errors
    /// [`FieldError`] when an amount is missing or has an unknown currency.
    pub fn of(message: &Message, at_ms: i64) -> Result<Option<Self>, FieldError> {
        let fact = |kind, player_id: &str, game: &str, currency: &str, in_minor, out_minor| Self {
            kind,
            at_ms,
            player_id: player_id.to_owned(),
            game: game.to_owned(),
            currency: currency.to_owned(),
            in_minor,
            out_minor,
        };
        let payment = |kind, player_id: &str, currency, in_minor, out_minor| {
            fact(kind, player_id, NO_GAME, currency, in_minor, out_minor)
        };
        Ok(Some(match message {
            Message::BetSettled(bet) => {
                let stake = required_money("stake", bet.stake.as_ref())?;
                let payout = required_money("payout", bet.payout.as_ref())?;
                let (game, currency) = (Game::label(&bet.game), stake.currency().code());
                fact(Kind::BetSettled, &bet.player_id, game, currency, stake.minor(), payout.minor())
            }
            Message::BetRejected(bet) => {
                let currency = required_money("stake", bet.stake.as_ref())?.currency().code();
                fact(Kind::BetRejected, &bet.player_id, Game::label(&bet.game), currency, 0, 0)
            }
            Message::BetVoided(bet) => {
                let currency = required_money("stake", bet.stake.as_ref())?.currency().code();
                let (kind, in_minor, out_minor) = reversed(bet);
                fact(kind, &bet.player_id, Game::label(&bet.game), currency, in_minor, out_minor)
            }
            Message::DepositCompleted(deposit) => {
                let amount = required_money("amount", deposit.amount.as_ref())?;
                let currency = amount.currency().code();
                payment(Kind::DepositCompleted, &deposit.player_id, currency, amount.minor(), 0)
            }
            Message::DepositFailed(deposit) => {
                let amount = required_money("amount", deposit.amount.as_ref())?;
                payment(Kind::DepositFailed, &deposit.player_id, amount.currency().code(), 0, 0)
            }
            Message::WithdrawalCompleted(withdrawal) => {
                let amount = required_money("amount", withdrawal.amount.as_ref())?;
                let currency = amount.currency().code();
                payment(Kind::WithdrawalCompleted, &withdrawal.player_id, currency, 0, amount.minor())
            }
            Message::WithdrawalFailed(withdrawal) => {
                let amount = required_money("amount", withdrawal.amount.as_ref())?;
                payment(Kind::WithdrawalFailed, &withdrawal.player_id, amount.currency().code(), 0, 0)
            }
            Message::PlayerRegistered(player) => {
                fact(Kind::PlayerRegistered, &player.player_id, NO_GAME, &player.currency, 0, 0)
            }
            _ => return Ok(None),
        }))
    }
}

/// Returns the amounts that a void subtracts. A void without amounts (nothing applied, or an older build) subtracts nothing.
fn reversed(bet: &BetVoided) -> (Kind, i64, i64) {
    let minor = |money: Option<&Money>| money.map_or(0, |money| money.minor.saturating_neg());
    match bet.reversed_stake.as_ref() {
        None => (Kind::BetVoided, 0, 0),
        stake => (Kind::BetReversed, minor(stake), minor(bet.reversed_payout.as_ref())),
    }
}
