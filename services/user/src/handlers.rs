//! Consumes the events that end a bet or a payment, in the group `user`, and records each in the history.

mod bet_rejected;
mod bet_settled;
mod bet_voided;
mod deposit_completed;
mod deposit_failed;
mod withdrawal_completed;
mod withdrawal_failed;

use bus::{Delivery, HandlerError, Outcome, Router};
use contracts::{EventType, FieldError, Message};

use crate::domain::Entry;
use crate::history::{History, HistoryError, Recorded};

/// Routes the handled types. All others complete without a handler.
pub(crate) fn router(history: &History) -> Router {
    Router::new()
        .on(EventType::BetSettled, bet_settled::Handler(history.clone()))
        .on(EventType::BetRejected, bet_rejected::Handler(history.clone()))
        .on(EventType::BetVoided, bet_voided::Handler(history.clone()))
        .on(EventType::DepositCompleted, deposit_completed::Handler(history.clone()))
        .on(EventType::DepositFailed, deposit_failed::Handler(history.clone()))
        .on(EventType::WithdrawalCompleted, withdrawal_completed::Handler(history.clone()))
        .on(EventType::WithdrawalFailed, withdrawal_failed::Handler(history.clone()))
}

/// An event arrived at a handler of another type, so the router is wired wrongly.
#[derive(Debug, thiserror::Error)]
#[error("a handler was given another type of event")]
struct Misrouted;

/// Records one event, read as `M` and converted to an entry by `entry`.
async fn record<M: TryFrom<Message>>(
    history: &History,
    delivery: &Delivery,
    entry: fn(&M) -> Result<Entry, FieldError>,
) -> Result<Outcome, HandlerError> {
    let content = M::try_from(delivery.event.message.clone()).map_err(|_| HandlerError::fatal(Misrouted))?;
    let entry = entry(&content).map_err(HistoryError::from)?;
    match history.record(&delivery.event, entry).await? {
        Recorded::New => Ok(Outcome::Applied),
        Recorded::Known => Ok(Outcome::Duplicate),
    }
}
