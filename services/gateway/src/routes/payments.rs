//! Deposits and withdrawals through the card provider.

use axum::{extract::State, response::Response};
use chassis::{
    http::{IdempotencyKey, Json, Path},
    problem::Problem,
};
use contracts::{
    EventId, Message,
    proto::payments::v1::{Deposit, Withdraw},
};
use http::{HeaderMap, StatusCode};

use super::bets::amount;
use crate::{
    auth::{Bearer, Player},
    domain::payment::{PaymentRequest, PaymentResult},
    owner::{self, Owner},
    state::Gateway,
    writes::{self, Write},
};

/// Bring money in; waits up to two seconds for the provider.
#[utoipa::path(post, path = "/api/v1/payments/deposits", tag = "payments", security(("player" = [])),
    params(
        ("Idempotency-Key" = String, Header, description = "Your name for this deposit: the same key is the same deposit"),
        ("Prefer" = Option<String>, Header, description = "`respond-async`: answer 202 as soon as it is safe"),
    ),
    request_body = PaymentRequest,
    responses(
        (status = 200, description = "The outcome", body = PaymentResult),
        (status = 202, description = "Accepted; ask at Location", body = PaymentResult),
        (status = 401, description = "No token, or not a valid one", content_type = "application/problem+json"),
        (status = 422, description = "Not a payment, or the key belongs to another request", content_type = "application/problem+json"),
        (status = 503, description = "Not acknowledged; repeat with the same key", content_type = "application/problem+json"),
    ))]
pub(crate) async fn deposit(
    State(gateway): State<Gateway>,
    player: Bearer,
    key: IdempotencyKey,
    headers: HeaderMap,
    Json(request): Json<PaymentRequest>,
) -> Result<Response, Problem> {
    let amount = amount(request.amount_minor, &request.currency)?;
    let message = Message::from(Deposit { player_id: player.id.clone(), amount: Some(amount) });
    pay(&gateway, player, "POST /api/v1/payments/deposits", key, message, &headers).await
}

/// Take money out; waits up to two seconds for the provider.
#[utoipa::path(post, path = "/api/v1/payments/withdrawals", tag = "payments", security(("player" = [])),
    params(
        ("Idempotency-Key" = String, Header, description = "Your name for this withdrawal: the same key is the same withdrawal"),
        ("Prefer" = Option<String>, Header, description = "`respond-async`: answer 202 as soon as it is safe"),
    ),
    request_body = PaymentRequest,
    responses(
        (status = 200, description = "The outcome", body = PaymentResult),
        (status = 202, description = "Accepted; ask at Location", body = PaymentResult),
        (status = 401, description = "No token, or not a valid one", content_type = "application/problem+json"),
        (status = 422, description = "Not a payment, or the key belongs to another request", content_type = "application/problem+json"),
        (status = 503, description = "Not acknowledged; repeat with the same key", content_type = "application/problem+json"),
    ))]
pub(crate) async fn withdraw(
    State(gateway): State<Gateway>,
    player: Bearer,
    key: IdempotencyKey,
    headers: HeaderMap,
    Json(request): Json<PaymentRequest>,
) -> Result<Response, Problem> {
    let amount = amount(request.amount_minor, &request.currency)?;
    let message = Message::from(Withdraw { player_id: player.id.clone(), amount: Some(amount) });
    pay(&gateway, player, "POST /api/v1/payments/withdrawals", key, message, &headers).await
}

/// One of the player's own payments.
#[utoipa::path(get, path = "/api/v1/payments/{payment_id}", tag = "payments", security(("player" = [])),
    params(("payment_id" = String, Path, description = "The payment's id")),
    responses(
        (status = 200, description = "The payment, the same bytes as the answer to its making", body = PaymentResult),
        (status = 401, description = "No token, or not a valid one", content_type = "application/problem+json"),
        (status = 404, description = "No such payment of this player", content_type = "application/problem+json"),
    ))]
pub(crate) async fn find(
    State(gateway): State<Gateway>,
    player: Player,
    Path(payment_id): Path<String>,
) -> Result<Response, Problem> {
    let payment_id: EventId = payment_id.parse().map_err(|_| Problem::not_found())?;
    let payment = owner::look_up(&gateway, Owner::Payment, payment_id.as_str(), &player.id).await?;
    Ok(writes::body_response(StatusCode::OK, payment))
}

async fn pay(
    gateway: &Gateway,
    player: Bearer,
    route: &'static str,
    key: IdempotencyKey,
    message: Message,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let respond_async = writes::prefers_async(headers);
    let write = Write { player, route, key, message, owner: Owner::Payment, respond_async };
    writes::perform(gateway, write).await
}
