//! Handler of `PlaceBet`: decides the bet, stores it, then publishes the command to payment. One insert and one publish.

use std::sync::Arc;

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::proto::bets::v1::PlaceBet;
use contracts::proto::common::v1::RejectReason;
use contracts::{Event, FieldError};
use telemetry::metric::{self, Metric};

use super::context::Game;
use crate::bets::Insertion;
use crate::document::BetDocument;
use crate::domain::bet::{BetRequest, Decision, Refusal};
use crate::domain::lifecycle::State;
use crate::domain::slot_machine::PAY_TABLE_VERSION;
use crate::events;

/// Handles `PlaceBet`.
pub(super) struct OnPlaceBet(pub(super) Arc<Game>);

#[async_trait]
impl Handle<PlaceBet> for OnPlaceBet {
    async fn handle(&self, command: &PlaceBet, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let game = &self.0;
        let (bet, owed_minor) = decide(game, command, &delivery.event).await?;
        match game.bets.insert(&bet).await? {
            Insertion::Fresh => {
                count_payout(&bet, owed_minor);
                game.publish_next(&bet).await?;
                Ok(if bet.state == State::Rejected { Outcome::Rejected } else { Outcome::Applied })
            }
            // The stored outcome is kept, the new draw discarded, and the events of the current state are published again.
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

/// Decides a bet. Returns its document and the payout that the pay table owes.
async fn decide(game: &Game, command: &PlaceBet, event: &Event) -> Result<(BetDocument, i64), HandlerError> {
    let PlaceBet { player_id, game: name, stake } = command;
    let stake = stake.as_ref().ok_or_else(|| FieldError::missing("stake"))?;
    let request = BetRequest { game: name, stake_minor: stake.minor, currency: &stake.currency };
    let request_hash = event.request_hash_or_computed();
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
        void_of_applied: false,
        reversed_stake_minor: None,
        reversed_payout_minor: None,
        sweep_at: None,
        sweeps: 0,
        unanswered_at: None,
        trace: telemetry::propagation::capture(),
    };
    let mut owed_minor = 0;
    match game.decide(request)? {
        Decision::Played { payout: owed, spin, .. } => {
            game.burn_cpu(&bet).await;
            owed_minor = owed.minor();
            bet.payout_minor = game.paid(&bet, owed).minor();
            bet.wager_hash = Some(events::wager_hash(&bet));
            bet.reels = spin.line.iter().map(|symbol| symbol.as_str().to_owned()).collect();
            bet.sweep_at = Some(store::time::later(now, game.sweep_after_ms));
        }
        Decision::Refused(refusal) => {
            bet.state = State::Rejected;
            bet.ended_at = Some(now);
            bet.reject_reason = Some(reason(refusal).as_str_name().to_owned());
        }
    }
    Ok((bet, owed_minor))
}

/// Counts what is owed and what is paid. Their ratio is 1, unless the payouts are wrong.
fn count_payout(bet: &BetDocument, owed_minor: i64) {
    if owed_minor > 0 {
        let labels = [("game", bet.game.as_str())];
        metric::count(Metric::GamePayoutOwed, owed_minor.unsigned_abs(), &labels);
        metric::count(Metric::GamePayoutPaid, bet.payout_minor.unsigned_abs(), &labels);
    }
}

/// Maps a refusal to the contract's reason.
fn reason(refusal: Refusal) -> RejectReason {
    match refusal {
        Refusal::UnknownGame => RejectReason::UnknownGame,
        Refusal::CurrencyNotSupported => RejectReason::CurrencyNotHeld,
        Refusal::InvalidStake => RejectReason::InvalidStake,
    }
}
