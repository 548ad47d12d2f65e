//! Query endpoints for people, tests and the command line.
//!
//! They guarantee that an envelope that was acknowledged with 200 is visible. A query waits for the index, and
//! `x-recorder-index-lag` gives the number of envelopes that are still missing. No large response is in memory as a whole.

mod admin;
pub(crate) mod alerts;
pub(crate) mod attachments;
pub(crate) mod crash_facts;
pub(crate) mod dashboards;
mod envelopes;
mod events;
pub(crate) mod feedback;
pub(crate) mod flags;
pub(crate) mod flame;
pub(crate) mod health;
pub(crate) mod issue_states;
pub(crate) mod issues;
pub(crate) mod lines;
pub(crate) mod logs;
pub(crate) mod monitors;
mod names;
mod own_items;
pub(crate) mod params;
pub(crate) mod profiles;
mod read_limit;
pub(crate) mod scan;
pub(crate) mod scorecard;
mod scorecard_file;
mod set_release;
pub(crate) mod shown_stack;
mod signals;
mod slots;
pub(crate) mod state;
#[cfg(test)]
pub(crate) mod test_query;
pub(crate) mod traces;
mod triage;

use axum::{
    Router, middleware,
    routing::{get, post, put},
};
use chassis::problem::Problem;
use tower_http::catch_panic::CatchPanicLayer;

use crate::pages;

pub use state::{Query, Shared};

/// Returns the routes of the query listener.
pub fn router(query: Query) -> Router {
    Router::new()
        .route("/api/v1/envelopes", get(envelopes::list).delete(admin::delete_all))
        .route("/api/v1/envelopes/{seq}/raw", get(envelopes::raw))
        .route("/api/v1/traces", get(traces::list))
        .route("/api/v1/traces/{trace_id}", get(traces::one))
        .route("/api/v1/events", get(events::list))
        .route("/api/v1/issues", get(issues::list))
        .route("/api/v1/issues/{issue_id}", get(issues::one).put(triage::update))
        .route(
            "/api/v1/releases",
            get(issues::releases).put(set_release::set_release).delete(triage::delete_release),
        )
        .route("/api/v1/release-health", get(health::list))
        .route("/api/v1/metrics", get(signals::metrics))
        .route("/api/v1/logs", get(signals::logs))
        .route("/api/v1/logs/search", get(logs::list))
        .route("/api/v1/sessions", signals::payloads(&["session", "sessions"]))
        .route("/api/v1/feedback", get(signals::feedback))
        .route("/api/v1/check-ins", signals::payloads(&["check_in"]))
        .route("/api/v1/monitors", get(monitors::list))
        .route("/api/v1/alerts", get(alerts::list))
        .route("/api/v1/alerts/{id}", get(alerts::one))
        .route("/api/v1/profiles", get(profiles::list))
        .route("/api/v1/profiles/{seq}", get(profiles::one))
        .route("/api/v1/flame", get(flame::json))
        .route("/api/v1/flame/folded", get(flame::folded))
        .route("/api/v1/replays", signals::payloads(&["replay_event", "replay_recording"]))
        .route("/api/v1/client-reports", signals::payloads(&["client_report"]))
        .route("/api/v1/dashboards/queues", get(dashboards::queues_json))
        .route("/api/v1/dashboards/queries", get(dashboards::queries_json))
        .route("/api/v1/dashboards/caches", get(dashboards::caches_json))
        .route("/api/v1/dashboards/runtime", get(dashboards::runtime_json))
        .route("/api/v1/names", get(names::list))
        .route("/api/v1/flag-changes", signals::payloads(&[flags::FLAG_CHANGE]))
        .route("/api/0/organizations/{organization}/flags/hooks/provider/{provider}/", post(flags::hook))
        .route("/api/v1/ingest/mode", post(admin::set_mode).get(admin::mode))
        .route("/api/v1/scorecard", put(scorecard::put).get(scorecard::get))
        .route("/api/v1/status", get(admin::status))
        .merge(pages::router())
        .fallback(|| async { Problem::not_found().detail("there is nothing at this address") })
        .method_not_allowed_fallback(|| async {
            Problem::new(http::StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Not with this method")
        })
        .with_state(query)
        .layer(middleware::from_fn(pages::problem::problems_as_pages))
        .layer(CatchPanicLayer::new())
}
