//! Completes the HTTP request that waits for each outcome event. One file per event type.
//!
//! Every instance receives all events and answers only its own clients. An event without a waiting request here counts as a
//! duplicate and not as an error, because another instance may have answered it.

mod bet_conflict;
mod bet_rejected;
mod bet_settled;
mod bet_voided;
mod command_conflict;
mod deposit_completed;
mod deposit_failed;
mod restrictions_applied;
mod withdrawal_completed;
mod withdrawal_failed;

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome, Router};
use contracts::{EventType, Message, Topic};

use crate::state::Gateway;

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
pub(crate) fn router(gateway: &Gateway) -> Router {
    TYPES.into_iter().fold(Router::new(), |router, event_type| router.on(event_type, Teller(gateway.clone())))
}

/// Completes the waiting requests.
struct Teller(Gateway);

#[async_trait]
impl Handle for Teller {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        Ok(if tell(&self.0, &delivery.event.message) { Outcome::Applied } else { Outcome::Duplicate })
    }
}

/// Completes the requests that wait for this event's command. Returns `false` when there is none in this process.
pub(crate) fn tell(gateway: &Gateway, message: &Message) -> bool {
    match message {
        Message::BetSettled(event) => bet_settled::tell(gateway, event),
        Message::BetRejected(event) => bet_rejected::tell(gateway, event),
        Message::BetVoided(event) => bet_voided::tell(gateway, event),
        Message::BetConflict(event) => bet_conflict::tell(gateway, event),
        Message::DepositCompleted(event) => deposit_completed::tell(gateway, event),
        Message::DepositFailed(event) => deposit_failed::tell(gateway, event),
        Message::WithdrawalCompleted(event) => withdrawal_completed::tell(gateway, event),
        Message::WithdrawalFailed(event) => withdrawal_failed::tell(gateway, event),
        Message::RestrictionsApplied(event) => restrictions_applied::tell(gateway, event),
        Message::CommandConflict(event) => command_conflict::tell(gateway, event),
        _ => false,
    }
}
