//! Routes of bets. The gateway accepts a bet. The game and payment services decide it.

use std::net::SocketAddr;

use axum::{
    extract::{ConnectInfo, State},
    response::Response,
};
use chassis::{
    http::{IdempotencyKey, Json, Path},
    problem::Problem,
};
use contracts::{
    EventId, Game, Message,
    proto::{bets::v1::PlaceBet, common::v1::Money as WireMoney},
};
use http::{HeaderMap, StatusCode};
use money::{Currency, Money};

use super::shared_docs::{BodyProblems, CommonProblems, IdempotencyHeader, PreferHeader, TokenProblems};
use crate::{
    app::App,
    auth::{Bearer, Player},
    domain::bet::{BetRequest, BetResult},
    idempotent_write::{self, Write},
    outcome_lookup::{self, Owner},
};

/// Place a bet and wait up to two seconds for its outcome.
///
/// A rejected bet is a result (200, `outcome: rejected`) and not an error. In overload a new bet is refused early (503,
/// `/problems/overloaded`).
#[utoipa::path(post, path = "/api/v1/bets", tag = "bets", security(("player" = [])),
    params(IdempotencyHeader, PreferHeader),
    request_body = BetRequest,
    responses(
        (status = 200, description = "The outcome", body = BetResult),
        (status = 202, description = "Accepted. The outcome will be at `Location`", body = BetResult),
        (status = 422, description = "Invalid body, unknown game, or the key belongs to another request", body = Problem, content_type = "application/problem+json"),
        TokenProblems, BodyProblems, CommonProblems,
        // After the common problems, because it replaces their 503.
        (status = 503, description = "`/problems/overloaded`: more bets arrive than can be decided. The request has no effect, and `Retry-After` gives the seconds to wait. Other types: temporarily unavailable. Repeat the request with the same key", body = Problem, content_type = "application/problem+json",
            headers(("Retry-After" = u64, description = "Seconds to wait. In overload: once to twice the time in which all accepted bets are decided at the measured rate, at most 30, and from 20 on if that time is longer"))),
    ))]
pub(crate) async fn place(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    player: Bearer,
    key: IdempotencyKey,
    headers: HeaderMap,
    Json(request): Json<BetRequest>,
) -> Result<Response, Problem> {
    // Only known games are accepted, so that a client's text never becomes a record, a bucket or a label.
    request
        .game
        .parse::<Game>()
        .map_err(|_| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unknown-game", "Unknown game"))?;
    let stake = amount(request.stake_minor, &request.currency)?;
    let message =
        Message::from(PlaceBet { player_id: player.id.clone(), game: request.game, stake: Some(stake) });
    let write = Write {
        player,
        client: peer.ip(),
        route: "POST /api/v1/bets",
        key,
        message,
        owner: Owner::Game,
        respond_async: idempotent_write::prefers_async(&headers),
    };
    idempotent_write::perform(&app, write).await
}

/// Get one of the player's own bets.
#[utoipa::path(get, path = "/api/v1/bets/{bet_id}", tag = "bets", security(("player" = [])),
    params(("bet_id" = String, Path, description = "The bet's id")),
    responses(
        (status = 200, description = "The bet as it is now, with the same bytes as the response to its placing unless it was voided since", body = BetResult),
        (status = 404, description = "The player has no such bet", body = Problem, content_type = "application/problem+json"),
        TokenProblems, CommonProblems,
    ))]
pub(crate) async fn find(
    State(app): State<App>,
    player: Player,
    Path(bet_id): Path<String>,
) -> Result<Response, Problem> {
    let bet_id: EventId = bet_id.parse().map_err(|_| Problem::not_found())?;
    let bet = outcome_lookup::find(&app, Owner::Game, bet_id.as_str(), &player.id).await?;
    Ok(idempotent_write::final_response(bet))
}

/// Parses an amount from a client: a known currency, and more than zero.
pub(crate) fn amount(minor: i64, currency: &str) -> Result<WireMoney, Problem> {
    let currency: Currency = currency
        .parse()
        .map_err(|_| Problem::invalid_body("the currency must be one of EUR, USD, GBP, SEK"))?;
    if minor <= 0 {
        return Err(Problem::invalid_body("the amount must be more than zero"));
    }
    Ok(Money::new(minor, currency).into())
}
