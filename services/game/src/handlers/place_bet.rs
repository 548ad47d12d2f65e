//! Handler of `PlaceBet`: decides the bet, stores it, then asks payment. One insert and one publish.

use std::sync::Arc;

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::proto::bets::v1::PlaceBet;
use contracts::proto::common::v1::RejectReason;
use contracts::{Event, Message, ids};
use store::bson::DateTime;

use super::Game;
use crate::bets::Insertion;
use crate::document::BetDocument;
use crate::domain::bet::{Ask, Decision, Refusal};
use crate::domain::life::State;
use crate::domain::machine::PAY_TABLE_VERSION;
use crate::error::GameError;
use crate::events;

/// Handles `PlaceBet`.
pub struct OnPlaceBet(pub Arc<Game>);

#[async_trait]
impl Handle for OnPlaceBet {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let game = &self.0;
        let bet = decided(game, &delivery.event)?;
        match game.bets.insert(&bet).await? {
            Insertion::Fresh => {
                game.publish_next(&bet).await?;
                Ok(if bet.state == State::Rejected { Outcome::Rejected } else { Outcome::Applied })
            }
            // The stored outcome is kept, the new draw discarded, and the current event published again for the waiting client.
            Insertion::Known(known) if known.request_hash == bet.request_hash => {
                game.publish_next(&known).await?;
                Ok(Outcome::Duplicate)
            }
            Insertion::Known(known) => {
                game.producer.publish(&events::conflict(&known)?).await?;
                Ok(Outcome::Rejected)
            }
        }
    }
}

/// Decides a bet and returns its document.
fn decided(game: &Game, event: &Event) -> Result<BetDocument, GameError> {
    let Message::PlaceBet(command) = &event.message else {
        return Err(GameError::WrongType(event.message.event_type().as_str()));
    };
    let PlaceBet { player_id, game: name, stake } = command;
    let stake = stake.as_ref().ok_or(GameError::Incomplete { field: "stake" })?;
    let ask = Ask { game: name, stake_minor: stake.minor, currency: &stake.currency };
    let request_hash = event.request_hash.clone().unwrap_or_else(|| ids::request_hash(&event.message));
    let now = game.bets.now();
    let mut bet = BetDocument {
        id: event.id.as_str().to_owned(),
        player_id: player_id.clone(),
        request_hash: request_hash.into(),
        wager_hash: None,
        game: name.clone(),
        state: State::Decided,
        stake_minor: stake.minor,
        payout_minor: 0,
        currency: stake.currency.clone(),
        reels: Vec::new(),
        pay_table_version: PAY_TABLE_VERSION.to_owned(),
        decided_at: now,
        ended_at: None,
        balance_minor: None,
        reject_reason: None,
        void_reason: None,
        voided_at: None,
        reversed_stake_minor: None,
        reversed_payout_minor: None,
        sweep_at: None,
        sweeps: 0,
        unanswered_at: None,
        trace: telemetry::propagation::capture(),
    };
    match game.decide(ask)? {
        Decision::Played { payout, spin, .. } => {
            bet.payout_minor = payout.minor();
            bet.wager_hash = Some(events::wager_hash(&bet));
            bet.reels = spin.line.iter().map(|symbol| symbol.as_str().to_owned()).collect();
            let wait_ms = i64::try_from(game.sweep_after_ms).unwrap_or(i64::MAX);
            bet.sweep_at = Some(DateTime::from_millis(now.timestamp_millis().saturating_add(wait_ms)));
        }
        Decision::Refused(refusal) => {
            bet.state = State::Rejected;
            bet.ended_at = Some(now);
            bet.reject_reason = Some(reason(refusal).as_str_name().to_owned());
        }
    }
    Ok(bet)
}

/// Maps a refusal to the contract's reason.
fn reason(refusal: Refusal) -> RejectReason {
    match refusal {
        Refusal::UnknownGame => RejectReason::UnknownGame,
        Refusal::CurrencyNotSupported => RejectReason::CurrencyNotHeld,
        Refusal::InvalidStake => RejectReason::InvalidStake,
    }
}
