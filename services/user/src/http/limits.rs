//! `PUT /internal/v1/players/{player_id}/limits`: replaces all limits.

use axum::extract::State;
use chassis::http::{IdempotencyKey, Json, Path};
use chassis::problem::Problem;
use money::{Currency, Money};
use serde::Deserialize;

use super::Api;
use super::changed::{Answer, perform};
use crate::domain::Change;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    max_stake_minor: Option<i64>,
    daily_loss_minor: Option<i64>,
    currency: Currency,
}

pub(super) async fn set(
    State(api): State<Api>,
    Path(player_id): Path<String>,
    key: IdempotencyKey,
    Json(body): Json<Body>,
) -> Result<Json<Answer>, Problem> {
    let limit = |minor: Option<i64>| minor.map(|minor| Money::new(minor, body.currency));
    let change =
        Change::Limits { max_stake: limit(body.max_stake_minor), daily_loss: limit(body.daily_loss_minor) };
    perform(&api, &player_id, &key, &change).await
}
