//! Layers around every route, from the outside in: trace and count, panic, deadline, body limit, internal token.

use std::{any::Any, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use telemetry::propagation::TrustPolicy;
use tower_http::catch_panic::CatchPanicLayer;

use super::extract::too_large;
use crate::{
    config::Http,
    internal::{INTERNAL_TOKEN_PROBLEM, Internal},
    problem::Problem,
};

/// Wraps a service's routes in [`with_problems`] and [`layered`]. A service with its own layers puts them between the two.
pub fn router(routes: Router, http: &Http, trust: TrustPolicy) -> Router {
    layered(with_problems(routes), http, trust)
}

/// Answers an unknown path or method with a problem, where axum would answer with plain text.
pub fn with_problems(routes: Router) -> Router {
    routes.fallback(|| async { Problem::not_found() }).method_not_allowed_fallback(|| async {
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed")
    })
}

/// Restricts routes to our own services. Every request without the internal token is a 401, whatever its path and method.
///
/// It includes [`with_problems`]. Put [`layered`] around it.
pub fn internal(routes: Router, internal: Internal) -> Router {
    with_problems(routes).layer(middleware::from_fn_with_state(internal, require_internal_token))
}

/// Restricts these routes to our own services, beside other routes that are not. There has to be at least one.
pub fn with_internal_token(routes: Router, internal: Internal) -> Router {
    routes.route_layer(middleware::from_fn_with_state(internal, require_internal_token))
}

/// Paths of a router's routes, for tests that must cover all of them. Parsed from `Debug` output, because axum offers no list.
#[must_use]
pub fn paths<S>(routes: &Router<S>) -> Vec<String> {
    let described = format!("{routes:?}");
    let listed = described.split_once("paths: {").map_or("", |(_, rest)| rest);
    let listed = listed.split_once("fallback_router: ").map_or(listed, |(own, _)| own);
    let entries = listed.split("RouteId(").skip(1);
    let path = |entry: &str| Some(entry.split_once("): \"")?.1.split_once('"')?.0.to_owned());
    let mut paths: Vec<String> =
        entries.filter_map(path).filter(|path| !path.contains("__private")).collect();
    paths.sort();
    paths.dedup();
    paths
}

/// Adds the common layers.
///
/// `trust` decides whether an incoming trace is continued. A panic in a handler becomes a 500 and an event. A request that takes
/// too long becomes a 503, and a body that is too large a 413.
pub fn layered(routes: Router, http: &Http, trust: TrustPolicy) -> Router {
    with_body_limit(routes, http.body_bytes_max)
        .layer(middleware::from_fn_with_state(http.request_deadline(), within_deadline))
        .layer(CatchPanicLayer::custom(panic_response))
        .layer(telemetry::http::server_layer(trust))
}

/// Refuses larger bodies with a 413. [`layered`] includes it.
pub fn with_body_limit(routes: Router, bytes_max: usize) -> Router {
    routes
        .layer(DefaultBodyLimit::max(bytes_max))
        .layer(middleware::from_fn_with_state(bytes_max, refuse_declared_length))
}

async fn require_internal_token(State(internal): State<Internal>, request: Request, next: Next) -> Response {
    if internal.is(request.headers()) {
        return next.run(request).await;
    }
    internal_token_refused().into_response()
}

/// The problem of a request without the internal token.
pub(crate) fn internal_token_refused() -> Problem {
    let title = "The internal token is missing or wrong";
    Problem::new(StatusCode::UNAUTHORIZED, INTERNAL_TOKEN_PROBLEM, title)
        .detail("this route requires the internal token, which is the same for all services")
}

/// Refuses a body by its declared length, before a byte of it is read.
async fn refuse_declared_length(State(bytes_max): State<usize>, request: Request, next: Next) -> Response {
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    match declared.map(str::parse::<usize>) {
        Some(Ok(length)) if length > bytes_max => too_large().into_response(),
        _ => next.run(request).await,
    }
}

async fn within_deadline(State(deadline): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(deadline, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::unavailable("the request took too long").into_response(),
    }
}

/// Answers after a panic, which the hook has already reported with its stack. The payload may hold anything, so it is not shown.
fn panic_response(_: Box<dyn Any + Send + 'static>) -> Response {
    Problem::internal().sentry_event(telemetry::last_event_id()).into_response()
}
