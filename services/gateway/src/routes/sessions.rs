//! Logging in.

use axum::extract::State;
use chassis::{http::Json, problem::Problem};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{state::Gateway, writes};

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
    )
)]
pub(crate) async fn log_in(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    Json(credentials): Json<Credentials>,
) -> Result<(StatusCode, Json<Session>), Problem> {
    let key = writes::key_of(&headers)?;
    let session = gateway.peers.log_in(key.as_str(), &credentials).await?;
    let token = gateway.tokens.issue(&session.player_id, &session.session_id, session.expires_at_epoch_s)?;
    let body = Session {
        token,
        token_type: "Bearer",
        player_id: session.player_id,
        expires_at_epoch_s: session.expires_at_epoch_s,
    };
    Ok((StatusCode::CREATED, Json(body)))
}
