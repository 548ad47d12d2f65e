//! `GET /internal/v1/accounts/{player_id}/balances` → `{"balances": {"EUR": 1234}}`

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use chassis::http::{Json, Path};
use chassis::problem::Problem;
use money::Currency;
use serde::Serialize;

use super::{App, problem};

/// Balances of a player.
#[derive(Debug, Serialize)]
pub(super) struct Balances {
    /// Minor units per currency.
    balances: BTreeMap<Currency, i64>,
}

/// Returns no balances for an unknown player, because the registration may still be in flight.
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Path(player_id): Path<String>,
) -> Result<Json<Balances>, Problem> {
    let account = app.ledger.account(&player_id).await.map_err(|e| problem(&e))?;
    Ok(Json(Balances { balances: account.map(|account| account.balances).unwrap_or_default() }))
}
