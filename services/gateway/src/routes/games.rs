//! Public information about games.

use axum::extract::State;
use chassis::{http::Json, problem::Problem};
use http::{HeaderName, header};

use super::shared_docs::CommonProblems;
use crate::{app::App, domain::pay_table::PayTable};

/// Get the slot machine's pay table with its exact return to player.
#[utoipa::path(get, path = "/api/v1/games/slots/pay-table", tag = "games",
    responses((status = 200, description = "The pay table", body = PayTable), CommonProblems))]
pub(crate) async fn pay_table(
    State(app): State<App>,
) -> Result<([(HeaderName, &'static str); 1], Json<PayTable>), Problem> {
    let caching = [(header::CACHE_CONTROL, "public, max-age=60")];
    Ok((caching, Json(app.peers.pay_table().await?)))
}
