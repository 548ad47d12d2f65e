//! `DELETE /internal/v1/sessions/{session_id}`

use axum::extract::State;
use chassis::http::Path;
use chassis::problem::Problem;
use http::StatusCode;

use super::Api;

pub(super) async fn log_out(
    State(api): State<Api>,
    Path(session_id): Path<String>,
) -> Result<StatusCode, Problem> {
    api.sessions.log_out(&session_id).await?;
    Ok(StatusCode::NO_CONTENT)
}
