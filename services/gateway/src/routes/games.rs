//! Public information about games.

use axum::{extract::State, response::Response};
use chassis::problem::Problem;
use http::{HeaderValue, StatusCode, header};

use crate::{state::Gateway, writes};

/// The slot machine's pay table with its exact return to player.
#[utoipa::path(get, path = "/api/v1/games/slots/pay-table", tag = "games",
    responses((status = 200, description = "Symbols, lines, payouts, theoretical RTP as a fraction", body = Object)))]
pub(crate) async fn pay_table(State(gateway): State<Gateway>) -> Result<Response, Problem> {
    let mut response = writes::body_response(StatusCode::OK, gateway.peers.pay_table().await?);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=60"));
    Ok(response)
}
