//! Event handlers, one file per event type. Each passes the request to the ledger and returns the outcome.

mod apply_wager;
mod deposit;
mod limits_changed;
mod player_registered;
mod provider_reported;
mod self_exclusion_started;
mod void_wager;
mod withdraw;

use bus::{Delivery, HandlerError, Outcome, Router};
use contracts::EventId;
use contracts::proto::payments::v1::{ApplyWager, Deposit, ProviderReported, VoidWager, Withdraw};
use contracts::proto::players::v1::{LimitsChanged, PlayerRegistered, SelfExclusionStarted};

use crate::ledger::{Incoming, Ledger, LedgerError, Request, Verdict};

/// Returns the router with all handlers of the consumer group `payment`. A limit that becomes looser counts `loosen_after_ms`
/// after its decision.
#[must_use]
pub fn router(ledger: &Ledger, loosen_after_ms: i64) -> Router {
    let ledger = || ledger.clone();
    Router::new()
        .on::<ApplyWager>(apply_wager::OnApplyWager(ledger()))
        .on::<VoidWager>(void_wager::OnVoidWager(ledger()))
        .on::<Deposit>(deposit::OnDeposit(ledger()))
        .on::<Withdraw>(withdraw::OnWithdraw(ledger()))
        .on::<ProviderReported>(provider_reported::OnProviderReported(ledger()))
        .on::<PlayerRegistered>(player_registered::OnPlayerRegistered(ledger()))
        .on::<LimitsChanged>(limits_changed::OnLimitsChanged { ledger: ledger(), loosen_after_ms })
        .on::<SelfExclusionStarted>(self_exclusion_started::OnSelfExclusionStarted(ledger()))
}

/// Executes a request and maps the verdict to the outcome of the record.
async fn execute(ledger: &Ledger, delivery: &Delivery, request: Request) -> Result<Outcome, HandlerError> {
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

fn id(name: &str, text: &str) -> Result<EventId, HandlerError> {
    text.parse().map_err(|e| invalid_command(&format!("{name} {e}")))
}

fn invalid_command(what: &str) -> HandlerError {
    LedgerError::InvalidCommand(what.to_owned()).into()
}
