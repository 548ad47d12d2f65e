//! Events and commands about a bet. Each is a function of the bet's document alone, without clock or counter, so a repeated event
//! has the same bytes and the same id.

use contracts::proto::bets::v1::{BetConflict, BetRejected, BetSettled, BetVoided};
use contracts::proto::common::v1::{Money, RejectReason};
use contracts::proto::payments::v1::ApplyWager;
use contracts::{Event, EventId, Message, ids};
use store::bson::DateTime;
use time::OffsetDateTime;

use crate::document::BetDocument;
use crate::domain::lifecycle::State;
use crate::error::GameError;

/// Source of every event that game publishes.
const SOURCE: &str = "/pitboss/game";

/// Builds the event that the bet's state calls for: the command to payment, or the terminal event.
///
/// # Errors
/// [`GameError::InvalidDocument`] when the stored bet is incomplete or invalid. The other builders fail in the same way.
pub fn next(bet: &BetDocument) -> Result<Event, GameError> {
    match bet.state {
        State::Decided => apply_wager(bet),
        State::Settled => settled(bet),
        State::Rejected => rejected(bet),
        State::Voided => voided(bet),
    }
}

/// Builds the command to payment to apply stake and payout in one step.
pub fn apply_wager(bet: &BetDocument) -> Result<Event, GameError> {
    let message = wager(bet);
    let hash = match &bet.wager_hash {
        Some(stored) => {
            stored.parse().map_err(|_| GameError::InvalidDocument("its wager hash is invalid"))?
        }
        // A bet of an older build. Payment computes the same hash, as it did for that build's command.
        None => ids::request_hash(&message),
    };
    Ok(follower(bet, bet.decided_at, message)?.with_request_hash(hash))
}

/// Returns the hash of the command to payment, to be stored with the bet.
#[must_use]
pub fn wager_hash(bet: &BetDocument) -> String {
    ids::request_hash(&wager(bet)).into()
}

fn wager(bet: &BetDocument) -> Message {
    let wager = ApplyWager {
        wager_id: bet.id.clone(),
        player_id: bet.player_id.clone(),
        game: bet.game.clone(),
        stake: Some(money(bet, bet.stake_minor)),
        payout: Some(money(bet, bet.payout_minor)),
    };
    wager.into()
}

/// Builds `BetSettled` from the applied amounts.
pub fn settled(bet: &BetDocument) -> Result<Event, GameError> {
    let balance_minor = bet.balance_minor.ok_or(GameError::InvalidDocument("settled without a balance"))?;
    let message = BetSettled {
        bet_id: bet.id.clone(),
        player_id: bet.player_id.clone(),
        game: bet.game.clone(),
        stake: Some(money(bet, bet.stake_minor)),
        payout: Some(money(bet, bet.payout_minor)),
        balance_after: Some(money(bet, balance_minor)),
        reels: bet.reels.clone(),
        pay_table_version: bet.pay_table_version.clone(),
        bet_seq: 0,
    };
    follower(bet, bet.ended_at.unwrap_or(bet.decided_at), message)
}

/// Builds `BetRejected`.
pub fn rejected(bet: &BetDocument) -> Result<Event, GameError> {
    let reason = bet.reject_reason.as_deref().and_then(RejectReason::from_str_name);
    let message = BetRejected {
        bet_id: bet.id.clone(),
        player_id: bet.player_id.clone(),
        game: bet.game.clone(),
        stake: Some(money(bet, bet.stake_minor)),
        reason: reason.ok_or(GameError::InvalidDocument("rejected without a known reason"))?.into(),
    };
    follower(bet, bet.ended_at.unwrap_or(bet.decided_at), message)
}

/// Builds `BetVoided`, with the reversed amounts if the bet had been published as settled.
pub fn voided(bet: &BetDocument) -> Result<Event, GameError> {
    let (stake, payout) = bet.reversed().unzip();
    let message = BetVoided {
        bet_id: bet.id.clone(),
        player_id: bet.player_id.clone(),
        game: bet.game.clone(),
        stake: Some(money(bet, bet.stake_minor)),
        reason: bet.void_reason.clone().ok_or(GameError::InvalidDocument("voided without a reason"))?,
        reversed_stake: stake.map(|minor| money(bet, minor)),
        reversed_payout: payout.map(|minor| money(bet, minor)),
    };
    follower(bet, bet.voided_at.unwrap_or(bet.decided_at), message)
}

/// Builds the report that a command used the id of another bet. It goes to the owner of the stored bet, and every attempt
/// produces the same event.
pub fn conflict(bet: &BetDocument) -> Result<Event, GameError> {
    let message = BetConflict { bet_id: bet.id.clone(), player_id: bet.player_id.clone() };
    follower(bet, bet.decided_at, message)
}

fn follower(bet: &BetDocument, at: DateTime, message: impl Into<Message>) -> Result<Event, GameError> {
    let bet_id: EventId = bet.id.parse()?;
    let mut event = Event::follower(&bet_id, SOURCE, message);
    event.time = store::time::from_bson(at).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    Ok(event)
}

fn money(bet: &BetDocument, minor: i64) -> Money {
    Money { minor, currency: bet.currency.clone() }
}
