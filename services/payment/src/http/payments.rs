//! `GET /internal/v1/payments/{payment_id}`: the state of a deposit or withdrawal, from its one or two decisions.

use std::sync::Arc;

use axum::extract::State;
use chassis::http::{Json, Path};
use chassis::problem::Problem;
use contracts::{EventId, EventType, Message, RejectReason};
use serde::Serialize;

use super::{App, problem};
use crate::ledger::{Entry, StoredEvent};

/// Payment as its player may see it.
#[derive(Debug, Serialize)]
pub(super) struct Payment {
    payment_id: String,
    player_id: String,
    state: &'static str,
    amount_minor: i64,
    currency: String,
    balance_minor: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_reference: Option<String>,
    request_hash: String,
}

pub(super) async fn get(
    State(app): State<Arc<App>>,
    Path(payment_id): Path<String>,
) -> Result<Json<Payment>, Problem> {
    let id: EventId = payment_id.parse().map_err(|_| Problem::not_found())?;
    let request = app.ledger.decision(id.as_str()).await.map_err(|e| problem(&e))?;
    let (player_id, request) =
        request.filter(|(_, entry)| is_payment(entry)).ok_or_else(Problem::not_found)?;
    let settled = app.ledger.settlement(&id).await.map_err(|e| problem(&e))?;
    let last = settled.unwrap_or_else(|| request.clone());
    let event = last.event.as_ref().map(EventState::read).unwrap_or_default();
    let amount = request.payment.as_ref().map(|payment| (payment.amount_minor, payment.currency.to_string()));
    let (amount_minor, currency) = amount.or(event.amount).unwrap_or_default();
    Ok(Json(Payment {
        payment_id,
        player_id,
        state: event.state,
        amount_minor,
        currency,
        balance_minor: last.balance_after_minor,
        reason: event.reason,
        provider_reference: event.provider_reference,
        request_hash: request.request_hash,
    }))
}

fn is_payment(entry: &Entry) -> bool {
    let types = [EventType::Deposit, EventType::Withdraw];
    types.iter().any(|event_type| event_type.as_str() == entry.command_type)
}

/// State of a payment, read from its last event.
#[derive(Debug)]
struct EventState {
    state: &'static str,
    amount: Option<(i64, String)>,
    reason: Option<String>,
    provider_reference: Option<String>,
}

impl Default for EventState {
    fn default() -> Self {
        Self { state: "pending", amount: None, reason: None, provider_reference: None }
    }
}

impl EventState {
    fn read(event: &StoredEvent) -> Self {
        let message = event.event_type.parse::<EventType>().ok();
        let message = message.and_then(|kind| Message::from_protobuf(kind, &event.bytes.bytes).ok());
        match message {
            Some(Message::DepositCompleted(m)) => Self::completed(m.amount, m.provider_reference),
            Some(Message::WithdrawalCompleted(m)) => Self::completed(m.amount, m.provider_reference),
            Some(Message::DepositFailed(m)) => Self::failed(m.amount.clone(), m.reason()),
            Some(Message::WithdrawalFailed(m)) => Self::failed(m.amount.clone(), m.reason()),
            _ => Self::default(),
        }
    }

    fn completed(amount: Option<WireMoney>, reference: String) -> Self {
        Self { state: "completed", amount: pair(amount), reason: None, provider_reference: Some(reference) }
    }

    fn failed(amount: Option<WireMoney>, reason: RejectReason) -> Self {
        let reason = reason.as_str_name().trim_start_matches("REJECT_REASON_").to_owned();
        Self { state: "failed", amount: pair(amount), reason: Some(reason), provider_reference: None }
    }
}

type WireMoney = contracts::proto::common::v1::Money;

fn pair(amount: Option<WireMoney>) -> Option<(i64, String)> {
    amount.map(|amount| (amount.minor, amount.currency))
}
