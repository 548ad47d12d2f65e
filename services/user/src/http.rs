//! The internal interface for other Pitboss services: one file per route. Every route requires the internal token.
//!
//! A session's id grants access like the session itself. It comes in a header and never in a path, so that no log, span or
//! address bar of a tool shows it.

mod api;
mod bets;
mod change;
mod kyc_status;
mod limits;
mod log_in;
mod log_out;
mod network;
mod payments;
mod preferences;
mod problems;
mod profile;
mod register;
mod self_exclusion;
mod session;

use axum::Router;
use axum::routing::{get, post, put};
use chassis::debug::Debug;
use chassis::internal::Internal;

use self::change::change;

pub(crate) use self::api::Api;

/// All routes and those of the debug faults, behind the check of the internal token.
pub(crate) fn routes(api: Api, debug: &Debug, internal: Internal) -> Router {
    chassis::http::internal(table().with_state(api).merge(debug.routes()), internal)
}

/// Every path and its handlers.
pub(crate) fn table() -> Router<Api> {
    Router::new()
        .route("/internal/v1/players", post(register::register))
        .route("/internal/v1/players/{player_id}", get(profile::profile))
        .route("/internal/v1/players/{player_id}/limits", put(change::<limits::Body>))
        .route("/internal/v1/players/{player_id}/self-exclusion", post(change::<self_exclusion::Body>))
        .route("/internal/v1/players/{player_id}/preferences", put(change::<preferences::Body>))
        .route("/internal/v1/players/{player_id}/kyc-status", put(change::<kyc_status::Body>))
        .route("/internal/v1/players/{player_id}/bets", get(bets::page))
        .route("/internal/v1/players/{player_id}/payments", get(payments::page))
        .route("/internal/v1/sessions", post(log_in::log_in))
        .route("/internal/v1/sessions/current", get(session::find).delete(log_out::log_out))
}
