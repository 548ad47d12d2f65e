//! Ops listener with `/livez`, `/readyz`, `/metrics`, `/version` and `/profile`. Its port is for this machine only, and in containers
//! for the others, too. So what changes anything requires the internal token.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::{
    Router,
    extract::{FromRequest, Request, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::json;
use telemetry::profile;

use crate::{
    Readiness,
    http::{Json, internal_token_refused},
    internal::Internal,
    problem::Problem,
};

/// Enough for probes and a scraper.
pub(crate) const CONNECTIONS_MAX: usize = 64;

/// Identity of the process, as `/version` reports it.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) service: &'static str,
    pub(crate) version: &'static str,
    pub(crate) release: Option<String>,
}

/// The internal token, as soon as the process knows it. Without one nobody may change anything here.
#[derive(Clone, Debug, Default)]
pub(crate) struct OpsToken(Arc<OnceLock<Internal>>);

impl OpsToken {
    /// Sets it. Only the first call counts.
    pub(crate) fn set(&self, internal: Internal) {
        self.0.get_or_init(|| internal);
    }

    fn is(&self, headers: &HeaderMap) -> bool {
        self.0.get().is_some_and(|internal| internal.is(headers))
    }
}

#[derive(Clone)]
struct Ops {
    readiness: Readiness,
    identity: Identity,
    token: OpsToken,
}

pub(crate) fn router(readiness: Readiness, identity: Identity, token: OpsToken) -> Router {
    Router::new()
        .route("/livez", get(|| async { axum::Json(json!({ "alive": true })) }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/version", get(version))
        .route("/profile", get(running_profile).post(begin_profile))
        .fallback(|| async { Problem::not_found() })
        .with_state(Ops { readiness, identity, token })
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

/// Body of `POST /profile`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileRequest {
    /// Duration of the continuous CPU profile from now on.
    seconds: u64,
}

/// Begins a continuous CPU profile of this process, or keeps it running. It does not wait for its first sample.
///
/// A profile needs memory until the end of the process, so the internal token is required, before the body is read.
async fn begin_profile(State(ops): State<Ops>, request: Request) -> Result<Response, Problem> {
    if !ops.token.is(request.headers()) {
        return Err(internal_token_refused());
    }
    let Json(ProfileRequest { seconds }) = Json::<ProfileRequest>::from_request(request, &()).await?;
    let (duration, longest) = (Duration::from_secs(seconds), profile::RUN_MAX);
    if duration.is_zero() || duration > longest {
        return Err(Problem::bad_request(format!("seconds must be from 1 to {}", longest.as_secs())));
    }
    if !profile::run_for(duration) {
        let problem =
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no-telemetry", "Nothing would get the profile");
        return Err(problem.detail("this process sends no telemetry, or ends"));
    }
    tracing::info!(duration_ms = seconds.saturating_mul(1_000), "a continuous CPU profile was asked for");
    Ok((StatusCode::ACCEPTED, running_profile().await).into_response())
}

/// Id of the continuous profile that runs now, or null.
async fn running_profile() -> axum::Json<serde_json::Value> {
    axum::Json(json!({ "profiler_id": profile::profiler_id() }))
}
