//! `GET /internal/v1/sessions/current`: called before every answer and action for a player, so the cache serves it.

use axum::extract::{FromRequestParts, State};
use chassis::http::Json;
use chassis::internal::SESSION_ID_HEADER;
use chassis::problem::Problem;
use faults::FaultId;
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

/// A valid session was answered as ended, because of the fault `user.unauthorized`.
#[derive(Debug, thiserror::Error)]
#[error("a valid session was answered as ended")]
struct ValidSessionRefused;

pub(super) async fn find(
    State(api): State<Api>,
    SessionId(session_id): SessionId,
) -> Result<Json<SessionView>, Problem> {
    let found = api.sessions.find(&session_id).await?.ok_or_else(Problem::not_found)?;
    telemetry::set_user(&found.player_id);
    if is_refused(&api, &found) {
        telemetry::report(&ValidSessionRefused, &[]);
        return Err(Problem::not_found());
    }
    Ok(Json(found))
}

/// Returns true when the fault `user.unauthorized` makes this valid session count as ended. The session itself stays unchanged.
fn is_refused(api: &Api, session: &SessionView) -> bool {
    let player_id = Some(session.player_id.as_str());
    chassis::faults::active(&api.faults, FaultId::UserUnauthorized, player_id, None).is_some()
}
