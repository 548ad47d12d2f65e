//! Completes the HTTP request that waits for each outcome event.
//!
//! Every instance receives all events and answers only its own clients. An event without a waiting request here counts as a
//! duplicate and not as an error, because another instance may have answered it.

use async_trait::async_trait;
use bus::{Delivery, HandleAny, HandlerError, Outcome, Router};
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
    app.waiters.answer(command_id, &answer)
}
