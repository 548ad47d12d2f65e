//! Events and commands about a bet. Each is a function of the bet's document alone, without clock or counter, so a repeated event
//! has the same bytes and the same id.
//!
//! [`of_state`] lists what a state publishes. A second event of a state is one more entry there, and a builder below.

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

/// Builds all events that this state of the bet calls for, in the order in which they are published.
///
/// They are published again together after a crash, so none is lost. The command to payment has to be the last of its state:
/// after it, payment's answer may change the state before a redelivery publishes the rest.
///
/// # Errors
/// [`GameError::InvalidDocument`] when the stored bet is incomplete or invalid. The other builders fail in the same way.
pub fn of_state(bet: &BetDocument, state: State) -> Result<Vec<Event>, GameError> {
    Ok(match state {
        State::Decided => vec![apply_wager(bet)?],
        State::Settled => vec![settled(bet)?],
        State::Rejected => vec![rejected(bet)?],
        State::Voided => vec![voided(bet)?],
    })
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
fn settled(bet: &BetDocument) -> Result<Event, GameError> {
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
fn rejected(bet: &BetDocument) -> Result<Event, GameError> {
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
fn voided(bet: &BetDocument) -> Result<Event, GameError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a bet in this state: with every field that some bets in it have (a voided one had been settled), or without these.
    fn bet(state: State, is_full: bool) -> BetDocument {
        let at = DateTime::from_millis(1_790_000_000_000);
        let (is_ended, is_voided) = (is_full && state.is_terminal(), state == State::Voided);
        let reason = RejectReason::InsufficientFunds.as_str_name();
        let mut bet = BetDocument {
            id: "bet-1".to_owned(),
            player_id: "player-1".to_owned(),
            request_hash: String::new(),
            wager_hash: None,
            game: "slots".to_owned(),
            state,
            stake_minor: 100,
            payout_minor: 200,
            currency: "EUR".to_owned(),
            reels: Vec::new(),
            pay_table_version: "1".to_owned(),
            decided_at: at,
            ended_at: is_ended.then_some(at),
            balance_minor: (is_ended || state == State::Settled).then_some(900),
            reject_reason: (state == State::Rejected).then(|| reason.to_owned()),
            void_reason: is_voided.then(|| "by hand".to_owned()),
            voided_at: is_voided.then_some(at),
            void_of_applied: is_full && is_voided,
            reversed_stake_minor: (is_full && is_voided).then_some(100),
            reversed_payout_minor: (is_full && is_voided).then_some(200),
            sweep_at: None,
            sweeps: 0,
            unanswered_at: None,
            trace: telemetry::propagation::StoredTrace::default(),
        };
        bet.wager_hash = is_full.then(|| wager_hash(&bet));
        bet
    }

    /// Returns both bets of every state, so that an event which only some bets have is built for one of them.
    fn bets() -> impl Iterator<Item = BetDocument> {
        State::ALL.into_iter().flat_map(|state| [bet(state, true), bet(state, false)])
    }

    /// What is published of each event: topic, key, headers and value, with all bytes.
    fn encoded(events: &[Event]) -> Vec<String> {
        let encoded = events.iter().map(|event| event.encode(contracts::Format::Protobuf));
        encoded.map(|event| format!("{event:?}")).collect()
    }

    #[test]
    fn events_of_state_differ_and_end_with_command() {
        for bet in bets() {
            let events = of_state(&bet, bet.state).unwrap();
            let ids: std::collections::HashSet<_> = events.iter().map(|event| event.id.as_str()).collect();
            assert!(!events.is_empty() && ids.len() == events.len(), "{bet:?}");
            let commands = events.iter().filter(|event| event.message.event_type().is_command()).count();
            assert_eq!(commands, usize::from(bet.state == State::Decided), "{bet:?}");
            let last = events.last().unwrap().message.event_type();
            assert_eq!(last.is_command(), bet.state == State::Decided, "{bet:?}");
        }
    }

    /// Before a repetition the sweeper may have counted, and an operator may have voided a settled bet.
    #[test]
    fn repeated_events_keep_their_bytes() {
        let voided = bet(State::Voided, true);
        let BetDocument { state, void_reason, voided_at, void_of_applied, .. } = voided;
        let BetDocument { reversed_stake_minor, reversed_payout_minor, .. } = voided;
        for bet in bets() {
            let later = match bet.state {
                State::Decided => BetDocument { sweeps: 1, ..bet.clone() },
                // What a void sets. All else stays.
                State::Settled => BetDocument {
                    state,
                    void_reason: void_reason.clone(),
                    voided_at,
                    void_of_applied,
                    reversed_stake_minor,
                    reversed_payout_minor,
                    ..bet.clone()
                },
                State::Rejected | State::Voided => bet.clone(),
            };
            let events = [&bet, &later].map(|bet_now| encoded(&of_state(bet_now, bet.state).unwrap()));
            assert_eq!(events[0], events[1], "{bet:?}");
        }
    }
}
