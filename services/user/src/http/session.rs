//! `GET /internal/v1/sessions/current`: called before every answer and action for a player, so the cache serves it.

use axum::extract::{FromRequestParts, State};
use chassis::http::Json;
use chassis::internal::SESSION_ID_HEADER;
use chassis::problem::Problem;
use http::request::Parts;

use super::api::Api;
use crate::sessions::SessionView;

/// Size limit of a session's id, which is a UUID.
const SESSION_ID_BYTES_MAX: usize = 64;

/// The session of the request. A missing or oversized id is answered with 404.
pub(super) struct SessionId(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for SessionId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let id = parts.headers.get(SESSION_ID_HEADER).and_then(|value| value.to_str().ok());
        id.filter(|id| id.len() <= SESSION_ID_BYTES_MAX)
            .map(|id| Self(id.to_owned()))
            .ok_or_else(Problem::not_found)
    }
}

pub(super) async fn find(
    State(api): State<Api>,
    SessionId(session_id): SessionId,
) -> Result<Json<SessionView>, Problem> {
    let found = api.sessions.find(&session_id).await?.ok_or_else(Problem::not_found)?;
    telemetry::set_user(&found.player_id);
    Ok(Json(found))
}
