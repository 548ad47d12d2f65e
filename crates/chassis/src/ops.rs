//! Ops listener with `/livez`, `/readyz`, `/metrics`, `/version` and `/profile`. Its port is never published.

use std::time::Duration;

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header};
use serde::Deserialize;
use serde_json::json;
use telemetry::profile;

use crate::{Readiness, http::Json, problem::Problem};

/// Enough for probes and a scraper.
pub(crate) const CONNECTIONS_MAX: usize = 64;

/// Identity of the process, as `/version` reports it.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) service: &'static str,
    pub(crate) version: &'static str,
    pub(crate) release: Option<String>,
}

#[derive(Clone)]
struct Ops {
    readiness: Readiness,
    identity: Identity,
}

pub(crate) fn router(readiness: Readiness, identity: Identity) -> Router {
    Router::new()
        .route("/livez", get(|| async { axum::Json(json!({ "alive": true })) }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/version", get(version))
        .route("/profile", get(running_profile).post(begin_profile))
        .fallback(|| async { Problem::not_found() })
        .with_state(Ops { readiness, identity })
}

async fn ready(State(ops): State<Ops>) -> Response {
    let ready = ops.readiness.is_ready();
    let parts: serde_json::Map<_, _> =
        ops.readiness.parts().into_iter().map(|(name, ready)| (name.to_owned(), ready.into())).collect();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({ "ready": ready, "phase": ops.readiness.phase(), "parts": parts });
    (status, axum::Json(body)).into_response()
}

async fn metrics() -> Response {
    let content_type = (header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
    ([content_type], telemetry::metric::render_prometheus()).into_response()
}

async fn version(State(ops): State<Ops>) -> Response {
    let Identity { service, version, release } = ops.identity;
    axum::Json(json!({ "service": service, "version": version, "release": release })).into_response()
}

/// Body of `POST /profile`. A page of another site cannot send it, because a browser asks first before it sends JSON.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileRequest {
    /// Duration of the continuous CPU profile from now on.
    seconds: u64,
}

/// Begins a continuous CPU profile of this process, or keeps it running. It does not wait for its first sample.
async fn begin_profile(Json(request): Json<ProfileRequest>) -> Result<Response, Problem> {
    let (duration, longest) = (Duration::from_secs(request.seconds), profile::RUN_MAX);
    if duration.is_zero() || duration > longest {
        return Err(Problem::bad_request(format!("seconds must be from 1 to {}", longest.as_secs())));
    }
    if !profile::run_for(duration) {
        let problem =
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no-telemetry", "Nothing would get the profile");
        return Err(problem.detail("this process sends no telemetry, or ends"));
    }
    tracing::info!(
        duration_ms = request.seconds.saturating_mul(1_000),
        "a continuous CPU profile was asked for"
    );
    Ok((StatusCode::ACCEPTED, running_profile().await).into_response())
}

/// Id of the continuous profile that runs now, or null.
async fn running_profile() -> axum::Json<serde_json::Value> {
    axum::Json(json!({ "profiler_id": profile::profiler_id() }))
}
