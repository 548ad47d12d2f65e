//! `GET /internal/v1/bets/{bet_id}`: returns the current state of a bet.

use axum::extract::State as Shared;
use chassis::http::{Json, Path};
use chassis::problem::Problem;
use contracts::class::{Classify as _, ErrorClass};
use serde::Serialize;

use crate::bets::Bets;
use crate::document::BetDocument;

/// Representation of a bet for other services.
#[derive(Debug, Serialize)]
pub(crate) struct BetView {
    bet_id: String,
    player_id: String,
    game: String,
    state: &'static str,
    reels: Vec<String>,
    stake_minor: i64,
    payout_minor: i64,
    currency: String,
    balance_minor: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    pay_table_version: String,
    request_hash: String,
}

pub(crate) async fn show(
    Shared(bets): Shared<Bets>,
    Path(bet_id): Path<String>,
) -> Result<Json<BetView>, Problem> {
    match bets.find(&bet_id).await {
        Ok(Some(bet)) => Ok(Json(bet.into())),
        Ok(None) => Err(Problem::not_found()),
        Err(error) if error.class() == ErrorClass::Transient => {
            tracing::warn!(error = %error, "a bet could not be read from the document store");
            Err(Problem::unavailable("the document store does not answer"))
        }
        Err(error) => {
            telemetry::report(&error, &[("bet.id", &bet_id)]);
            Err(Problem::internal())
        }
    }
}

impl From<BetDocument> for BetView {
    fn from(bet: BetDocument) -> Self {
        Self {
            bet_id: bet.id,
            player_id: bet.player_id,
            game: bet.game,
            state: bet.state.as_str(),
            reels: bet.reels,
            stake_minor: bet.stake_minor,
            payout_minor: bet.payout_minor,
            currency: bet.currency,
            balance_minor: bet.balance_minor,
            reason: bet.reject_reason.or(bet.void_reason),
            pay_table_version: bet.pay_table_version,
            request_hash: bet.request_hash,
        }
    }
}
