//! `GET /internal/v1/restrictions/{cause_id}`: the decision about limits or a self-exclusion, by the id of its event.

use std::sync::Arc;

use axum::extract::State;
use chassis::http::{Json, Path};
use chassis::problem::Problem;
use contracts::{EventId, EventType};
use serde::Serialize;

use super::{App, problem};
use crate::ledger::Entry;

/// Restriction that an account has.
#[derive(Debug, Serialize)]
pub(super) struct Restriction {
    cause_id: String,
    player_id: String,
}

/// A restriction that is not decided yet is not found. A decided one always counts: payment refuses none and parks invalid ones.
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Path(cause_id): Path<String>,
) -> Result<Json<Restriction>, Problem> {
    let id: EventId = cause_id.parse().map_err(|_| Problem::not_found())?;
    let decided = app.ledger.decision(id.as_str()).await.map_err(|e| problem(&e))?;
    let (player_id, _) = decided.filter(|(_, entry)| is_restriction(entry)).ok_or_else(Problem::not_found)?;
    Ok(Json(Restriction { cause_id, player_id }))
}

fn is_restriction(entry: &Entry) -> bool {
    let types = [EventType::LimitsChanged, EventType::SelfExclusionStarted];
    types.iter().any(|event_type| event_type.as_str() == entry.command_type)
}
