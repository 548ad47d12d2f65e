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
use http::Method;
use serde::Deserialize;
use utoipa::IntoParams;

use super::shared_docs::{BodyProblems, CommonProblems, IdempotencyHeader, TokenProblems};
use crate::{
    app::App,
    auth::{Bearer, Player},
    domain::{
        bet::HistoryPage,
        player::{Balances, Profile},
        restriction::{LimitsRequest, RestrictionResult, SelfExclusionRequest},
    },
    player_limits::{self, Restriction},
};

/// Largest page of history.
const HISTORY_PAGE_MAX: u32 = 100;

/// A page of the history.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Page {
    /// Number of bets, from 1 to 100.
    #[serde(default = "default_page")]
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: u32,
    /// The value of `next` in the previous page.
    before: Option<String>,
}

fn default_page() -> u32 {
    20
}

/// Get the player's profile.
#[utoipa::path(get, path = "/api/v1/me", tag = "me", security(("player" = [])),
    responses((status = 200, description = "The profile", body = Profile), TokenProblems, CommonProblems))]
pub(crate) async fn profile(State(app): State<App>, player: Player) -> Result<Json<Profile>, Problem> {
    Ok(Json(app.peers.profile(&player.id).await?))
}

/// Get the player's balances.
#[utoipa::path(get, path = "/api/v1/me/balance", tag = "me", security(("player" = [])),
    responses((status = 200, description = "The balances by currency", body = Balances), TokenProblems, CommonProblems))]
pub(crate) async fn balance(State(app): State<App>, player: Player) -> Result<Json<Balances>, Problem> {
    Ok(Json(app.peers.balances(&player.id).await?))
}

/// List the player's bets, latest first.
#[utoipa::path(get, path = "/api/v1/me/bets", tag = "me", security(("player" = [])), params(Page),
    responses(
        (status = 200, description = "A page of bets", body = HistoryPage),
        (status = 400, description = "Invalid `limit` or `before`", body = Problem, content_type = "application/problem+json"),
        TokenProblems, CommonProblems,
    ))]
pub(crate) async fn history(
    State(app): State<App>,
    player: Player,
    Query(page): Query<Page>,
) -> Result<Json<HistoryPage>, Problem> {
    if !(1..=HISTORY_PAGE_MAX).contains(&page.limit) {
        return Err(Problem::bad_request(format!("`limit` must be from 1 to {HISTORY_PAGE_MAX}")));
    }
    let page = app.peers.history(&player.id, page.limit, page.before.as_deref()).await?;
    Ok(Json(page.into()))
}

/// Set limits and wait until the ledger has them.
#[utoipa::path(put, path = "/api/v1/me/limits", tag = "me", security(("player" = [])),
    params(IdempotencyHeader),
    request_body = LimitsRequest,
    responses(
        (status = 200, description = "The ledger enforces it from now on. A looser limit, or the removal of one, counts after the wait (24 h by default), and the old one binds until then. Limits in other currencies are removed", body = RestrictionResult),
        (status = 202, description = "Stored. The ledger does not have it yet", body = RestrictionResult),
        (status = 422, description = "Invalid limit, or the key belongs to another request", body = Problem, content_type = "application/problem+json"),
        TokenProblems, BodyProblems, CommonProblems,
    ))]
pub(crate) async fn set_limits(
    State(app): State<App>,
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
    let limits = Restriction { method: Method::PUT, resource: "limits", route: "PUT /api/v1/me/limits" };
    player_limits::perform(&app, &player, limits, &key, &ids::request_hash(&message), &request).await
}

/// Exclude oneself and wait until the ledger enforces it.
#[utoipa::path(post, path = "/api/v1/me/self-exclusion", tag = "me", security(("player" = [])),
    params(IdempotencyHeader),
    request_body = SelfExclusionRequest,
    responses(
        (status = 200, description = "The ledger enforces it from now on", body = RestrictionResult),
        (status = 202, description = "Stored. The ledger does not enforce it yet", body = RestrictionResult),
        (status = 422, description = "Invalid end of the exclusion, or the key belongs to another request", body = Problem, content_type = "application/problem+json"),
        TokenProblems, BodyProblems, CommonProblems,
    ))]
pub(crate) async fn exclude(
    State(app): State<App>,
    player: Bearer,
    key: IdempotencyKey,
    Json(request): Json<SelfExclusionRequest>,
) -> Result<Response, Problem> {
    let message = Message::from(SelfExclusionStarted {
        player_id: player.id.clone(),
        until_epoch_ms: request.until_epoch_ms,
    });
    let (resource, route) = ("self-exclusion", "POST /api/v1/me/self-exclusion");
    let exclusion = Restriction { method: Method::POST, resource, route };
    player_limits::perform(&app, &player, exclusion, &key, &ids::request_hash(&message), &request).await
}
