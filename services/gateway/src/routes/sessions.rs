//! Log-in and log-out.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, State};
use chassis::{
    http::{IdempotencyKey, Json},
    problem::Problem,
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{auth::Bearer, state::Gateway};

/// Who wants in.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credentials {
    /// The address of the registration.
    #[schema(example = "ada@players.example", max_length = 254)]
    email: String,
    /// The password of the registration.
    #[schema(max_length = 256)]
    password: String,
}

/// A session.
#[derive(Serialize, ToSchema)]
pub(crate) struct Session {
    /// Send it as `Authorization: Bearer …`.
    token: String,
    /// Always `Bearer`.
    token_type: &'static str,
    /// The player.
    player_id: String,
    /// When the token ends, in seconds since the epoch.
    expires_at_epoch_s: u64,
}

/// Log in.
#[utoipa::path(
    post,
    path = "/api/v1/sessions",
    tag = "players",
    params(("Idempotency-Key" = String, Header, description = "Your name for this request; repeat it when you repeat the request")),
    request_body = Credentials,
    responses(
        (status = 201, description = "Logged in", body = Session),
        (status = 401, description = "Unknown address or wrong password", content_type = "application/problem+json"),
        (status = 429, description = "Too many from this address or for this account; `Retry-After` tells for how long", content_type = "application/problem+json"),
    )
)]
pub(crate) async fn log_in(
    State(gateway): State<Gateway>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    key: IdempotencyKey,
    Json(credentials): Json<Credentials>,
) -> Result<(StatusCode, Json<Session>), Problem> {
    let session = gateway.peers.log_in(key.as_str(), peer.ip(), &credentials).await?;
    let token = gateway.tokens.issue(&session.player_id, &session.session_id, session.expires_at_epoch_s)?;
    let body = Session {
        token,
        token_type: "Bearer",
        player_id: session.player_id,
        expires_at_epoch_s: session.expires_at_epoch_s,
    };
    Ok((StatusCode::CREATED, Json(body)))
}

/// Log out: the session of the token ends, and the token with it.
///
/// Needs no `Idempotency-Key`: a session ends once, however often it is ended.
#[utoipa::path(
    delete,
    path = "/api/v1/sessions/current",
    tag = "players",
    security(("player" = [])),
    responses(
        (status = 204, description = "Ended, now or before"),
        (status = 401, description = "No token, or not a valid one", content_type = "application/problem+json"),
        (status = 503, description = "Nobody knows whether it has ended; repeat", content_type = "application/problem+json"),
    )
)]
pub(crate) async fn log_out(State(gateway): State<Gateway>, bearer: Bearer) -> Result<StatusCode, Problem> {
    gateway.sessions.end(&bearer, &gateway.peers).await?;
    Ok(StatusCode::NO_CONTENT)
}
