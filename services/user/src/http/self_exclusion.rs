//! `POST /internal/v1/players/{player_id}/self-exclusion`

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
    until_epoch_ms: i64,
}

pub(super) async fn start(
    State(api): State<Api>,
    Path(player_id): Path<String>,
    key: IdempotencyKey,
    Json(body): Json<Body>,
) -> Result<Json<Answer>, Problem> {
    let change = Change::SelfExclusion { until_epoch_ms: body.until_epoch_ms };
    perform(&api, &player_id, &key, &change).await
}
