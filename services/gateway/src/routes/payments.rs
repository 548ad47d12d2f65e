//! Deposits and withdrawals through the card provider.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::{ConnectInfo, State},
    response::Response,
};
use chassis::{
    http::{IdempotencyKey, Json, Path},
    problem::Problem,
};
use contracts::{
    EventId, Message,
    proto::payments::v1::{Deposit, Withdraw},
};
use http::HeaderMap;

use super::{
    bets::amount,
    shared_docs::{BodyProblems, CommonProblems, IdempotencyHeader, PreferHeader, TokenProblems},
};
use crate::{
    app::App,
    auth::{Bearer, Player},
    domain::payment::{PaymentRequest, PaymentResult},
    idempotent_write::{self, Write},
    outcome_lookup::{self, Owner},
};

/// Deposit money and wait up to two seconds for the provider.
#[utoipa::path(post, path = "/api/v1/payments/deposits", tag = "payments", security(("player" = [])),
    params(IdempotencyHeader, PreferHeader),
    request_body = PaymentRequest,
    responses(
        (status = 200, description = "The outcome", body = PaymentResult),
        (status = 202, description = "Accepted. The outcome will be at `Location`", body = PaymentResult),
        (status = 422, description = "Invalid body, or the key belongs to another request", body = Problem, content_type = "application/problem+json"),
        TokenProblems, BodyProblems, CommonProblems,
    ))]
pub(crate) async fn deposit(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    player: Bearer,
    key: IdempotencyKey,
    headers: HeaderMap,
    Json(request): Json<PaymentRequest>,
) -> Result<Response, Problem> {
    let amount = amount(request.amount_minor, &request.currency)?;
    let message = Message::from(Deposit { player_id: player.id.clone(), amount: Some(amount) });
    pay(&app, player, peer.ip(), "POST /api/v1/payments/deposits", key, message, &headers).await
}

/// Withdraw money and wait up to two seconds for the provider.
#[utoipa::path(post, path = "/api/v1/payments/withdrawals", tag = "payments", security(("player" = [])),
    params(IdempotencyHeader, PreferHeader),
    request_body = PaymentRequest,
    responses(
        (status = 200, description = "The outcome", body = PaymentResult),
        (status = 202, description = "Accepted. The outcome will be at `Location`", body = PaymentResult),
        (status = 422, description = "Invalid body, or the key belongs to another request", body = Problem, content_type = "application/problem+json"),
        TokenProblems, BodyProblems, CommonProblems,
    ))]
pub(crate) async fn withdraw(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    player: Bearer,
    key: IdempotencyKey,
    headers: HeaderMap,
    Json(request): Json<PaymentRequest>,
) -> Result<Response, Problem> {
    let amount = amount(request.amount_minor, &request.currency)?;
    let message = Message::from(Withdraw { player_id: player.id.clone(), amount: Some(amount) });
    pay(&app, player, peer.ip(), "POST /api/v1/payments/withdrawals", key, message, &headers).await
}

/// Get one of the player's own payments.
#[utoipa::path(get, path = "/api/v1/payments/{payment_id}", tag = "payments", security(("player" = [])),
    params(("payment_id" = String, Path, description = "The payment's id")),
    responses(
        (status = 200, description = "The payment, with the same bytes as the response to its request", body = PaymentResult),
        (status = 404, description = "The player has no such payment", body = Problem, content_type = "application/problem+json"),
        TokenProblems, CommonProblems,
    ))]
pub(crate) async fn find(
    State(app): State<App>,
    player: Player,
    Path(payment_id): Path<String>,
) -> Result<Response, Problem> {
    let payment_id: EventId = payment_id.parse().map_err(|_| Problem::not_found())?;
    let payment = outcome_lookup::find(&app, Owner::Payment, payment_id.as_str(), &player.id).await?;
    Ok(idempotent_write::final_response(payment))
}

async fn pay(
    app: &App,
    player: Bearer,
    client: IpAddr,
    route: &'static str,
    key: IdempotencyKey,
    message: Message,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let respond_async = idempotent_write::prefers_async(headers);
    let write = Write { player, client, route, key, message, owner: Owner::Payment, respond_async };
    idempotent_write::perform(app, write).await
}
