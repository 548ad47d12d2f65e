//! Registration.

use std::net::SocketAddr;

use axum::{
    extract::{ConnectInfo, State},
    response::Response,
};
use chassis::{
    http::{IdempotencyKey, Json},
    problem::Problem,
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{state::Gateway, writes};

/// Who wants to play.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Registration {
    /// Where mail goes, and the name to log in with.
    #[schema(example = "ada@players.example", max_length = 254)]
    email: String,
    /// At least eight characters.
    #[schema(min_length = 8, max_length = 256)]
    password: String,
    /// How the player is greeted.
    #[schema(example = "Ada", max_length = 64)]
    display_name: String,
    /// The currency of the first balance: EUR, USD, GBP or SEK.
    #[schema(example = "EUR")]
    currency: String,
}

/// The new player.
#[derive(Serialize, ToSchema)]
pub(crate) struct Registered {
    /// Their id from now on.
    player_id: String,
}

/// Register a player.
#[utoipa::path(
    post,
    path = "/api/v1/players",
    tag = "players",
    params(("Idempotency-Key" = String, Header, description = "Your name for this request; repeat it when you repeat the request")),
    request_body = Registration,
    responses(
        (status = 201, description = "Registered", body = Registered),
        (status = 409, description = "The e-mail address is taken", content_type = "application/problem+json"),
        (status = 422, description = "The body is not what is expected, or the key belongs to another request", content_type = "application/problem+json"),
        (status = 429, description = "Too many from this address or for this account; `Retry-After` tells for how long", content_type = "application/problem+json"),
    )
)]
pub(crate) async fn register(
    State(gateway): State<Gateway>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    key: IdempotencyKey,
    Json(registration): Json<Registration>,
) -> Result<Response, Problem> {
    let body = gateway.peers.register(key.as_str(), peer.ip(), &registration).await?;
    Ok(writes::body_response(StatusCode::CREATED, body))
}
