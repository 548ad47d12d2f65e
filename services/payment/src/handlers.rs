//! Event handlers, one per event type. Each parses the message, passes the request to the ledger and returns the outcome.

mod apply_wager;
mod deposit;
mod limits_changed;
mod player_registered;
mod provider_reported;
mod self_exclusion_started;
mod void_wager;
mod withdraw;

use bus::{Delivery, HandlerError, Outcome, Router};
use contracts::proto::common::v1::Money as WireMoney;
use contracts::{EventId, EventType, Message};
use money::Money;

use crate::ledger::{Incoming, Ledger, LedgerError, Request, Verdict};

/// Returns the router with all handlers of the consumer group `payment`.
#[must_use]
pub fn router(ledger: &Ledger) -> Router {
    Router::new()
        .on(EventType::ApplyWager, apply_wager::ApplyWagerHandler(ledger.clone()))
        .on(EventType::VoidWager, void_wager::VoidWagerHandler(ledger.clone()))
        .on(EventType::Deposit, deposit::DepositHandler(ledger.clone()))
        .on(EventType::Withdraw, withdraw::WithdrawHandler(ledger.clone()))
        .on(EventType::ProviderReported, provider_reported::ProviderReportedHandler(ledger.clone()))
        .on(EventType::PlayerRegistered, player_registered::PlayerRegisteredHandler(ledger.clone()))
        .on(EventType::LimitsChanged, limits_changed::LimitsChangedHandler(ledger.clone()))
        .on(
            EventType::SelfExclusionStarted,
            self_exclusion_started::SelfExclusionStartedHandler(ledger.clone()),
        )
}

/// Executes a request and maps the verdict to the outcome of the record.
async fn carry(ledger: &Ledger, delivery: &Delivery, request: Request) -> Result<Outcome, HandlerError> {
    let event = &delivery.event;
    let incoming = Incoming {
        player_id: event.player_id(),
        command_id: &event.id,
        command_type: event.event_type(),
        request_hash: event.request_hash_or_computed(),
        request,
    };
    let verdict = ledger.execute(&incoming).await?;
    Ok(match verdict {
        Verdict::Decided(entry) if entry.is_rejection() => Outcome::Rejected,
        Verdict::Decided(_) => Outcome::Applied,
        Verdict::Found(_) => Outcome::Duplicate,
        Verdict::Conflict => Outcome::Rejected,
    })
}

/// Returns the content of a delivery. Fails when the router chose the wrong handler.
fn content<T: TryFrom<Message>>(delivery: &Delivery) -> Result<T, HandlerError> {
    let message = delivery.event.message.clone();
    T::try_from(message).map_err(|_| not_a_command("routed to the wrong handler"))
}

fn amount(name: &str, amount: Option<&WireMoney>) -> Result<Money, HandlerError> {
    let amount = amount.ok_or_else(|| not_a_command(&format!("{name} is absent")))?;
    Money::try_from(amount).map_err(|e| not_a_command(&format!("{name}: {e}")))
}

fn id(name: &str, text: &str) -> Result<EventId, HandlerError> {
    text.parse().map_err(|e| not_a_command(&format!("{name} {e}")))
}

fn not_a_command(what: &str) -> HandlerError {
    LedgerError::NotACommand(what.to_owned()).into()
}
