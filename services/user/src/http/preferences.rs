//! `PUT /internal/v1/players/{player_id}/preferences`

use axum::extract::State;
use chassis::http::{IdempotencyKey, Json, Path};
use chassis::problem::Problem;
use serde::Deserialize;

use super::Api;
use super::changed::{Answer, perform};
use crate::domain::Change;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    email_enabled: bool,
}

pub(super) async fn set(
    State(api): State<Api>,
    Path(player_id): Path<String>,
    key: IdempotencyKey,
    Json(body): Json<Body>,
) -> Result<Json<Answer>, Problem> {
    perform(&api, &player_id, &key, &Change::Preferences { email_enabled: body.email_enabled }).await
}
