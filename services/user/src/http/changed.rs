//! Common part of all changes of a player.

use chassis::http::{IdempotencyKey, Json};
use chassis::problem::Problem;
use serde::Serialize;

use super::Api;
use crate::domain::Change;

/// Id of the change's event. For a limit or an exclusion, the payment service publishes when it is enforced.
#[derive(Serialize)]
pub(super) struct Answer {
    event_id: String,
}

pub(super) async fn perform(
    api: &Api,
    player_id: &str,
    key: &IdempotencyKey,
    change: &Change,
) -> Result<Json<Answer>, Problem> {
    telemetry::set_user(player_id);
    let event_id = api.players.change(player_id, key.as_str(), change).await?;
    api.sessions.player_changed(player_id).await;
    Ok(Json(Answer { event_id: event_id.to_string() }))
}
