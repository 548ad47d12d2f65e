//! Ops listener with `/livez`, `/readyz`, `/metrics` and `/version`. Its port is never published.

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header};
use serde_json::json;

use crate::{Readiness, problem::Problem};

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
