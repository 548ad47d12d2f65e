//! Internal HTTP interface: one bet by its id, and the pay table.

mod bet;
mod pay_table;

use axum::Router;
use axum::routing::get;

use crate::bets::Bets;
use crate::domain::bet::Rules;

/// Returns all routes, without the check of the internal token.
pub fn routes(bets: Bets, rules: &Rules) -> Router {
    let table = pay_table::PayTableView::of(rules);
    Router::new()
        .route("/internal/v1/bets/{bet_id}", get(bet::show).with_state(bets))
        .route("/internal/v1/games/slots/pay-table", get(move || async move { chassis::http::Json(table) }))
}
