//! Internal HTTP interface with the figures.

mod summary;

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::get;
use faults::Faults;
use store::mongo::ScannedRows;

use crate::domain::active::ActivePlayers;
use crate::facts::Facts;

/// Returns all routes. `scanned_rows` belong to the fault `analytics.slow-aggregation`.
pub(crate) fn routes(
    facts: Facts,
    active: Arc<Mutex<ActivePlayers>>,
    faults: Faults,
    scanned_rows: ScannedRows,
) -> Router {
    let sources = summary::Sources { facts, active, faults, scanned_rows };
    Router::new().route("/api/v1/summary", get(summary::show).with_state(sources))
}
