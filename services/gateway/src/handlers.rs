//! Completes the HTTP request that waits for each outcome event.
//!
//! Every instance receives all events and answers only its own clients. An event without a waiting request here counts as a
//! duplicate and not as an error, because another instance may have answered it.

use async_trait::async_trait;
use bus::{Delivery, HandleAny, HandlerError, Outcome, Router};
use contracts::proto::common::v1::RejectReason;
use contracts::{EventType, Message, Topic};

use crate::app::App;
use crate::domain::answer::Answer;
use crate::domain::{bet, payment, restriction};

/// The topics that the gateway reads.
pub(crate) const TOPICS: [Topic; 2] = [Topic::BetsEvents, Topic::PaymentsEvents];

/// The event types that complete a request.
pub(crate) const TYPES: [EventType; 10] = [
    EventType::BetSettled,
    EventType::BetRejected,
    EventType::BetVoided,
    EventType::BetConflict,
    EventType::DepositCompleted,
    EventType::DepositFailed,
    EventType::WithdrawalCompleted,
    EventType::WithdrawalFailed,
    EventType::RestrictionsApplied,
    EventType::CommandConflict,
];

/// Routes each event type to the handler.
pub(crate) fn router(app: &App) -> Router {
    Router::new().on_each(TYPES, OnOutcome(app.clone()))
}

/// Handles every outcome event.
struct OnOutcome(App);

#[async_trait]
impl HandleAny for OnOutcome {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        Ok(if complete(&self.0, &delivery.event.message) { Outcome::Applied } else { Outcome::Duplicate })
    }
}

/// Completes the requests that wait for this event's command. Returns `false` when there is none in this process.
pub(crate) fn complete(app: &App, message: &Message) -> bool {
    let (command_id, answer) = match message {
        Message::BetSettled(event) => (&event.bet_id, bet::settled(event)),
        Message::BetRejected(event) => (&event.bet_id, bet::rejected(event)),
        Message::BetVoided(event) => (&event.bet_id, bet::voided(event)),
        Message::BetConflict(event) => (&event.bet_id, Answer::Conflict),
        Message::DepositCompleted(event) => (&event.payment_id, payment::deposit_completed(event)),
        Message::DepositFailed(event) => (&event.payment_id, payment::deposit_failed(event)),
        Message::WithdrawalCompleted(event) => (&event.payment_id, payment::withdrawal_completed(event)),
        Message::WithdrawalFailed(event) => (&event.payment_id, payment::withdrawal_failed(event)),
        Message::RestrictionsApplied(event) => {
            // Recorded before the answer, because the request may start to wait only now. It checks this record afterwards.
            app.recent_restrictions.insert(&event.cause_id);
            (&event.cause_id, restriction::applied())
        }
        Message::CommandConflict(event) => (&event.command_id, Answer::Conflict),
        _ => return false,
    };
    if is_early(message) {
        app.admission.answered_early(command_id);
    } else {
        app.admission.decided(command_id);
    }
    app.waiters.answer(command_id, &answer)
}

/// Returns true for an answer to a bet that game gives without payment: to a second request under its id, and to a bet against the
/// rules.
fn is_early(message: &Message) -> bool {
    match message {
        Message::BetConflict(_) => true,
        Message::BetRejected(event) => matches!(
            event.reason(),
            RejectReason::UnknownGame | RejectReason::InvalidStake | RejectReason::CurrencyNotHeld
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use contracts::proto::bets::v1::{BetConflict, BetRejected, BetSettled};

    use super::*;

    #[test]
    fn answers_without_payment_are_early() {
        let rejected = |reason: RejectReason| {
            Message::from(BetRejected { reason: reason.into(), ..BetRejected::default() })
        };
        assert!(is_early(&BetConflict::default().into()));
        assert!(is_early(&rejected(RejectReason::InvalidStake)));
        assert!(!is_early(&rejected(RejectReason::InsufficientFunds)));
        assert!(!is_early(&BetSettled::default().into()));
    }
}
