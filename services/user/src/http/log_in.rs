//! `POST /internal/v1/sessions`

use axum::extract::State;
use chassis::http::{IdempotencyKey, Json};
use chassis::problem::Problem;
use http::StatusCode;
use serde::Deserialize;

use super::api::Api;
use super::network::ClientNetwork;
use crate::sessions::Opened;

/// Size limit of e-mail address and password. Registration never accepts longer ones, so they are not hashed.
const CREDENTIAL_BYTES_MAX: usize = 256;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    email: String,
    password: String,
}

pub(super) async fn log_in(
    State(api): State<Api>,
    key: Option<IdempotencyKey>,
    ClientNetwork(network): ClientNetwork,
    Json(body): Json<Body>,
) -> Result<(StatusCode, Json<Opened>), Problem> {
    if body.email.len() > CREDENTIAL_BYTES_MAX || body.password.len() > CREDENTIAL_BYTES_MAX {
        return Err(crate::error::UserError::WrongCredentials.into());
    }
    let player = api.players.authenticate(&body.email, body.password, network.as_deref()).await?;
    telemetry::set_user(&player.id);
    let opened = api.sessions.log_in(&player, key.as_ref().map(IdempotencyKey::as_str)).await?;
    Ok((StatusCode::CREATED, Json(opened)))
}
