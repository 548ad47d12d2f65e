//! Registration.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, State};
use chassis::{
    http::{IdempotencyKey, Json},
    problem::Problem,
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::shared_docs::{BodyProblems, CommonProblems, IdempotencyHeader};
use crate::{app::App, domain::player::Registered};

/// A registration.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Registration {
    /// The e-mail address, which is also the name for log-ins.
    #[schema(example = "ada@players.example", max_length = 254)]
    email: String,
    /// The password, of at least eight characters.
    #[schema(min_length = 8, max_length = 256)]
    password: String,
    /// The player's name on pages and in e-mails.
    #[schema(example = "Ada", max_length = 64)]
    display_name: String,
    /// The currency of the first balance: EUR, USD, GBP or SEK.
    #[schema(example = "EUR")]
    currency: String,
}

/// Register a player.
#[utoipa::path(post, path = "/api/v1/players", tag = "players",
    params(IdempotencyHeader),
    request_body = Registration,
    responses(
        (status = 201, description = "Registered", body = Registered),
        (status = 409, description = "The e-mail address is taken", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Invalid body, or the key belongs to another request", body = Problem, content_type = "application/problem+json"),
        BodyProblems, CommonProblems,
    ))]
pub(crate) async fn register(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    key: IdempotencyKey,
    Json(registration): Json<Registration>,
) -> Result<(StatusCode, Json<Registered>), Problem> {
    let registered = app.peers.register(key.as_str(), peer.ip(), &registration).await?;
    Ok((StatusCode::CREATED, Json(registered)))
}
