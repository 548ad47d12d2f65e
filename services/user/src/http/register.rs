//! `POST /internal/v1/players`

use axum::extract::State;
use chassis::http::{IdempotencyKey, Json};
use chassis::problem::Problem;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::api::Api;
use super::network::ClientNetwork;
use super::problems;
use crate::players::Registration;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    email: String,
    password: String,
    display_name: String,
    currency: String,
}

#[derive(Serialize)]
pub(super) struct Answer {
    player_id: String,
}

pub(super) async fn register(
    State(api): State<Api>,
    key: IdempotencyKey,
    ClientNetwork(network): ClientNetwork,
    Json(body): Json<Body>,
) -> Result<(StatusCode, Json<Answer>), Problem> {
    let registration = Registration::new(body.email, body.password, body.display_name, &body.currency)
        .map_err(|error| problems::invalid(&error))?;
    let player_id = api.players.register(key.as_str(), &registration, network.as_deref()).await?;
    telemetry::set_user(&player_id);
    Ok((StatusCode::CREATED, Json(Answer { player_id })))
}
