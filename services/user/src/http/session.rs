//! `GET /internal/v1/sessions/{session_id}`: asked before anything that moves money, so the cache answers it.

use axum::extract::State;
use chassis::http::{Json, Path};
use chassis::problem::Problem;

use super::Api;
use crate::sessions::SessionView;

/// A session's id is a UUID.
const SESSION_ID_BYTES_MAX: usize = 64;

pub(super) async fn find(
    State(api): State<Api>,
    Path(session_id): Path<String>,
) -> Result<Json<SessionView>, Problem> {
    if session_id.len() > SESSION_ID_BYTES_MAX {
        return Err(Problem::not_found());
    }
    let found = api.sessions.find(&session_id).await?.ok_or_else(Problem::not_found)?;
    telemetry::set_user(&found.player_id);
    Ok(Json(found))
}
