//! Internal HTTP interface with the figures.

mod summary;

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::get;

use crate::domain::active::ActivePlayers;
use crate::facts::Facts;

/// Returns all routes.
pub(crate) fn routes(facts: Facts, active: Arc<Mutex<ActivePlayers>>) -> Router {
    Router::new().route("/api/v1/summary", get(summary::show).with_state(summary::Sources { facts, active }))
}
