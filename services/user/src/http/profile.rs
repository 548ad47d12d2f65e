//! `GET /internal/v1/players/{player_id}`

use axum::extract::State;
use chassis::http::{Json, Path};
use chassis::problem::Problem;
use money::Currency;
use serde::Serialize;

use super::api::Api;
use super::problems;
use crate::players::PlayerDocument;

#[derive(Serialize)]
pub(super) struct Profile {
    player_id: String,
    email: String,
    display_name: String,
    currency: Currency,
    kyc_status: String,
    email_enabled: bool,
    self_excluded_until_epoch_ms: Option<i64>,
    limits: Limits,
    registered_at_epoch_ms: i64,
}

#[derive(Serialize)]
struct Limits {
    max_stake_minor: Option<i64>,
    daily_loss_minor: Option<i64>,
    currency: Option<Currency>,
}

impl From<PlayerDocument> for Profile {
    fn from(player: PlayerDocument) -> Self {
        let standing = player.standing;
        let either = standing.max_stake.or(standing.daily_loss);
        Self {
            player_id: player.id,
            email: player.email,
            display_name: player.display_name,
            currency: player.currency,
            kyc_status: standing.kyc_status,
            email_enabled: standing.email_enabled,
            self_excluded_until_epoch_ms: standing.self_excluded_until_epoch_ms,
            limits: Limits {
                max_stake_minor: standing.max_stake.map(money::Money::minor),
                daily_loss_minor: standing.daily_loss.map(money::Money::minor),
                currency: either.map(money::Money::currency),
            },
            registered_at_epoch_ms: player.registered_at.timestamp_millis(),
        }
    }
}

pub(super) async fn profile(
    State(api): State<Api>,
    Path(player_id): Path<String>,
) -> Result<Json<Profile>, Problem> {
    let found = api.players.find(&player_id).await.map_err(problems::store_failed)?;
    found.map(|player| Json(player.into())).ok_or_else(Problem::not_found)
}
