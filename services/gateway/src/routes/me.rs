//! The player's own data and settings. The token names the player, so no route takes a player's id.

use axum::{extract::State, response::Response};
use chassis::{
    http::{IdempotencyKey, Json, Query},
    problem::Problem,
};
use contracts::{
    Message, ids,
    proto::players::v1::{LimitsChanged, SelfExclusionStarted},
};
use http::{Method, StatusCode};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    auth::{Bearer, Player},
    domain::{
        bet::HistoryPage,
        restriction::{LimitsRequest, RestrictionResult, SelfExclusionRequest},
    },
    restrictions::{self, Restriction},
    state::Gateway,
    writes,
};

/// Largest page of history.
const HISTORY_PAGE_MAX: u32 = 100;

/// Which page of the history.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Page {
    /// How many bets, at most 100.
    #[serde(default = "default_page")]
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: u32,
    /// What the page before gave as `next`.
    before: Option<String>,
}

fn default_page() -> u32 {
    20
}

/// The player's profile.
#[utoipa::path(get, path = "/api/v1/me", tag = "me", security(("player" = [])),
    responses(
        (status = 200, description = "player_id, display_name, currency, kyc_status", body = Object),
        (status = 401, description = "No token, or not a valid one", content_type = "application/problem+json"),
    ))]
pub(crate) async fn profile(State(gateway): State<Gateway>, player: Player) -> Result<Response, Problem> {
    Ok(writes::body_response(StatusCode::OK, gateway.peers.profile(&player.id).await?))
}

/// The player's balances, in minor units by currency.
#[utoipa::path(get, path = "/api/v1/me/balance", tag = "me", security(("player" = [])),
    responses(
        (status = 200, description = "`{\"balances\": {\"EUR\": 1234}}`", body = Object),
        (status = 401, description = "No token, or not a valid one", content_type = "application/problem+json"),
    ))]
pub(crate) async fn balance(State(gateway): State<Gateway>, player: Player) -> Result<Response, Problem> {
    Ok(writes::body_response(StatusCode::OK, gateway.peers.balances(&player.id).await?))
}

/// The player's bets, latest first, each in the words of the answer to its placing.
#[utoipa::path(get, path = "/api/v1/me/bets", tag = "me", security(("player" = [])), params(Page),
    responses(
        (status = 200, description = "A page of them", body = HistoryPage),
        (status = 401, description = "No token, or not a valid one", content_type = "application/problem+json"),
    ))]
pub(crate) async fn history(
    State(gateway): State<Gateway>,
    player: Player,
    Query(page): Query<Page>,
) -> Result<Json<HistoryPage>, Problem> {
    let limit = page.limit.clamp(1, HISTORY_PAGE_MAX);
    let page = gateway.peers.history(&player.id, limit, page.before.as_deref()).await?;
    Ok(Json(page.into()))
}

/// Set limits; answered when the ledger enforces them.
#[utoipa::path(put, path = "/api/v1/me/limits", tag = "me", security(("player" = [])),
    params(("Idempotency-Key" = String, Header, description = "Your name for this request")),
    request_body = LimitsRequest,
    responses(
        (status = 200, description = "Enforced from now on", body = RestrictionResult),
        (status = 202, description = "Stored, and on its way to the ledger", body = RestrictionResult),
        (status = 401, description = "No token, or not a valid one", content_type = "application/problem+json"),
        (status = 422, description = "A limit that makes no sense, or the key belongs to another request", content_type = "application/problem+json"),
    ))]
pub(crate) async fn set_limits(
    State(gateway): State<Gateway>,
    player: Bearer,
    key: IdempotencyKey,
    Json(request): Json<LimitsRequest>,
) -> Result<Response, Problem> {
    let money =
        |minor: Option<i64>| minor.map(|minor| super::bets::amount(minor, &request.currency)).transpose();
    let message = Message::from(LimitsChanged {
        player_id: player.id.clone(),
        max_stake: money(request.max_stake_minor)?,
        daily_loss: money(request.daily_loss_minor)?,
    });
    let what = Restriction { method: Method::PUT, what: "limits", route: "PUT /api/v1/me/limits" };
    restrict(&gateway, &player, what, &key, &message, &request).await
}

/// Shut oneself out; answered when the ledger enforces it.
#[utoipa::path(post, path = "/api/v1/me/self-exclusion", tag = "me", security(("player" = [])),
    params(("Idempotency-Key" = String, Header, description = "Your name for this request")),
    request_body = SelfExclusionRequest,
    responses(
        (status = 200, description = "Enforced from now on", body = RestrictionResult),
        (status = 202, description = "Stored, and on its way to the ledger", body = RestrictionResult),
        (status = 401, description = "No token, or not a valid one", content_type = "application/problem+json"),
        (status = 422, description = "In the past, too short or too long, or the key belongs to another request", content_type = "application/problem+json"),
    ))]
pub(crate) async fn exclude(
    State(gateway): State<Gateway>,
    player: Bearer,
    key: IdempotencyKey,
    Json(request): Json<SelfExclusionRequest>,
) -> Result<Response, Problem> {
    let message = Message::from(SelfExclusionStarted {
        player_id: player.id.clone(),
        until_epoch_ms: request.until_epoch_ms,
    });
    let what =
        Restriction { method: Method::POST, what: "self-exclusion", route: "POST /api/v1/me/self-exclusion" };
    restrict(&gateway, &player, what, &key, &message, &request).await
}

async fn restrict<B: serde::Serialize>(
    gateway: &Gateway,
    player: &Bearer,
    what: Restriction,
    key: &IdempotencyKey,
    message: &Message,
    body: &B,
) -> Result<Response, Problem> {
    restrictions::perform(gateway, player, what, key, &ids::request_hash(message), body).await
}
