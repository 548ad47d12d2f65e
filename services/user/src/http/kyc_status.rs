//! `PUT /internal/v1/players/{player_id}/kyc-status`: `pending`, `verified` or `rejected`.

use axum::extract::State;
use chassis::http::{IdempotencyKey, Json, Path};
use chassis::problem::Problem;
use contracts::FieldError;
use serde::Deserialize;

use super::changed::{Answer, perform};
use super::{Api, problems};
use crate::domain::Change;
use crate::domain::standing::kyc_named;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    status: String,
}

pub(super) async fn set(
    State(api): State<Api>,
    Path(player_id): Path<String>,
    key: IdempotencyKey,
    Json(body): Json<Body>,
) -> Result<Json<Answer>, Problem> {
    let unknown = FieldError { field: "status".to_owned(), problem: "is not pending, verified or rejected" };
    let status = kyc_named(&body.status).ok_or_else(|| problems::invalid(&unknown))?;
    perform(&api, &player_id, &key, &Change::Kyc { status }).await
}
