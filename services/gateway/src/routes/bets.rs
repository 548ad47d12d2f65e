//! Routes of bets. The gateway accepts a bet. The game and payment services decide it.

use axum::{extract::State, response::Response};
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

use crate::{
    auth::{Bearer, Player},
    domain::bet::{BetRequest, BetResult},
    owner::{self, Owner},
    state::Gateway,
    writes::{self, Write},
};

/// Place a bet; waits up to two seconds for its outcome.
///
/// A rejected bet is a result (200, `outcome: rejected`), not an error.
#[utoipa::path(post, path = "/api/v1/bets", tag = "bets", security(("player" = [])),
    params(
        ("Idempotency-Key" = String, Header, description = "Your name for this bet: the same key is the same bet, and the same answer"),
        ("Prefer" = Option<String>, Header, description = "`respond-async`: answer 202 as soon as the bet is safe"),
    ),
    request_body = BetRequest,
    responses(
        (status = 200, description = "The outcome", body = BetResult),
        (status = 202, description = "Accepted; ask at Location", body = BetResult),
        (status = 401, description = "No token, or not a valid one", content_type = "application/problem+json"),
        (status = 422, description = "Not a bet, no game of ours, or the key belongs to another request", content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", content_type = "application/problem+json"),
        (status = 503, description = "Not acknowledged; repeat with the same key", content_type = "application/problem+json"),
    ))]
pub(crate) async fn place(
    State(gateway): State<Gateway>,
    player: Bearer,
    key: IdempotencyKey,
    headers: HeaderMap,
    Json(request): Json<BetRequest>,
) -> Result<Response, Problem> {
    // Only known games are accepted, so that a client's text never becomes a record, a bucket or a label.
    request.game.parse::<Game>().map_err(|_| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unknown-game", "There is no such game")
    })?;
    let stake = amount(request.stake_minor, &request.currency)?;
    let message =
        Message::from(PlaceBet { player_id: player.id.clone(), game: request.game, stake: Some(stake) });
    let write = Write {
        player,
        route: "POST /api/v1/bets",
        key,
        message,
        owner: Owner::Game,
        respond_async: writes::prefers_async(&headers),
    };
    writes::perform(&gateway, write).await
}

/// One of the player's own bets.
#[utoipa::path(get, path = "/api/v1/bets/{bet_id}", tag = "bets", security(("player" = [])),
    params(("bet_id" = String, Path, description = "The bet's id")),
    responses(
        (status = 200, description = "The bet, the same bytes as the answer to its placing", body = BetResult),
        (status = 401, description = "No token, or not a valid one", content_type = "application/problem+json"),
        (status = 404, description = "No such bet of this player", content_type = "application/problem+json"),
    ))]
pub(crate) async fn find(
    State(gateway): State<Gateway>,
    player: Player,
    Path(bet_id): Path<String>,
) -> Result<Response, Problem> {
    let bet_id: EventId = bet_id.parse().map_err(|_| Problem::not_found())?;
    let bet = owner::look_up(&gateway, Owner::Game, bet_id.as_str(), &player.id).await?;
    Ok(writes::body_response(StatusCode::OK, bet))
}

/// Parses an amount from a client: a known currency, and more than zero.
pub(crate) fn amount(minor: i64, currency: &str) -> Result<WireMoney, Problem> {
    let currency: Currency =
        currency.parse().map_err(|_| Problem::invalid_body("currency: one of EUR, USD, GBP, SEK"))?;
    if minor <= 0 {
        return Err(Problem::invalid_body("the amount must be more than zero"));
    }
    Ok(Money::new(minor, currency).into())
}
