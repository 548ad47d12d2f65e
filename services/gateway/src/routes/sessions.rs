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

use super::shared_docs::{BodyProblems, CommonProblems, IdempotencyHeader, TokenProblems};
use crate::{app::App, auth::Bearer};

/// The credentials of a player.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credentials {
    /// The e-mail address of the registration.
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
    /// The player's id.
    player_id: String,
    /// Expiry of the token, in seconds since the epoch.
    expires_at_epoch_s: u64,
}

/// Log in.
#[utoipa::path(post, path = "/api/v1/sessions", tag = "players",
    params(IdempotencyHeader),
    request_body = Credentials,
    responses(
        (status = 201, description = "Logged in", body = Session),
        (status = 401, description = "Unknown address or wrong password", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Invalid body, or the key belongs to another request", body = Problem, content_type = "application/problem+json"),
        BodyProblems, CommonProblems,
    ))]
pub(crate) async fn log_in(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    key: IdempotencyKey,
    Json(credentials): Json<Credentials>,
) -> Result<(StatusCode, Json<Session>), Problem> {
    let session = app.peers.log_in(key.as_str(), peer.ip(), &credentials).await?;
    let token = app.tokens.issue(&session.player_id, &session.session_id, session.expires_at_epoch_s)?;
    let body = Session {
        token,
        token_type: "Bearer",
        player_id: session.player_id,
        expires_at_epoch_s: session.expires_at_epoch_s,
    };
    Ok((StatusCode::CREATED, Json(body)))
}

/// Log out. The session of the token ends, and the token with it.
///
/// This needs no `Idempotency-Key`, because ending a session again has no further effect.
#[utoipa::path(delete, path = "/api/v1/sessions/current", tag = "players", security(("player" = [])),
    responses((status = 204, description = "The session has ended, now or before"), TokenProblems, CommonProblems))]
pub(crate) async fn log_out(State(app): State<App>, bearer: Bearer) -> Result<StatusCode, Problem> {
    app.sessions.end(&bearer, &app.peers).await?;
    Ok(StatusCode::NO_CONTENT)
}
