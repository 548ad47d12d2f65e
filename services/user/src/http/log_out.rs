//! `DELETE /internal/v1/sessions/current`: ends the session. Ending it again succeeds.

use axum::extract::State;
use chassis::problem::Problem;
use http::StatusCode;

use super::api::Api;
use super::session::SessionId;

pub(super) async fn log_out(
    State(api): State<Api>,
    SessionId(session_id): SessionId,
) -> Result<StatusCode, Problem> {
    api.sessions.log_out(&session_id).await?;
    Ok(StatusCode::NO_CONTENT)
}
