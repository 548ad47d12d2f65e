//! Common handler of all changes of a player. The module of each route defines its request body.

use axum::extract::State;
use chassis::http::{IdempotencyKey, Json, Path};
use chassis::problem::Problem;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::api::Api;
use crate::domain::Change;

/// Request body of a change.
pub(super) trait ChangeBody: DeserializeOwned {
    /// Converts the body, or returns a problem if it is invalid.
    fn into_change(self) -> Result<Change, Problem>;
}

/// Id of the change's event. For a limit or an exclusion, the payment service publishes when it is enforced.
#[derive(Serialize)]
pub(super) struct Answer {
    event_id: String,
}

pub(super) async fn change<B: ChangeBody>(
    State(api): State<Api>,
    Path(player_id): Path<String>,
    key: IdempotencyKey,
    Json(body): Json<B>,
) -> Result<Json<Answer>, Problem> {
    let change = body.into_change()?;
    telemetry::set_user(&player_id);
    let event_id = api.players.change(&player_id, key.as_str(), &change).await?;
    api.sessions.evict_player(&player_id).await;
    Ok(Json(Answer { event_id: event_id.to_string() }))
}
