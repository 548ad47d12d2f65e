//! The layers around every route, from the outside in: trace, count, panic, deadline, body limit.

use std::{
    any::Any,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use http::{Method, StatusCode, header};
use telemetry::{
    metric::{self, Metric},
    propagation::TrustPolicy,
};
use tower_http::catch_panic::CatchPanicLayer;

use super::extract::too_large;
use crate::{config::Http, problem::Problem};

/// A service's routes with everything around them: [`with_problems`] and [`layered`]. A service with layers of its own puts
/// them between the two.
pub fn router(routes: Router, http: &Http, trust: TrustPolicy) -> Router {
    layered(with_problems(routes), http, trust)
}

/// Problems where axum would answer with plain text: no such path, no such method.
pub fn with_problems(routes: Router) -> Router {
    routes.fallback(|| async { Problem::not_found() }).method_not_allowed_fallback(|| async {
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Not with this method")
    })
}

/// The common layers.
///
/// A trace that comes in is judged by `trust`; a panic in a handler becomes a 500 and an event, never a
/// closed connection; a request that takes too long becomes a 503; a body that is too large a 413.
pub fn layered(routes: Router, http: &Http, trust: TrustPolicy) -> Router {
    routes
        .layer(DefaultBodyLimit::max(http.body_bytes_max))
        .layer(middleware::from_fn_with_state(http.body_bytes_max, refuse_declared_length))
        .layer(middleware::from_fn_with_state(http.request_deadline(), within_deadline))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(counted))
        .layer(telemetry::http::server_layer(trust))
}

/// Counts every answer, by route and not by path: what a stranger types must not become a series.
async fn counted(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let response = next.run(request).await;
    let route = matched.as_ref().map_or("<unmatched>", MatchedPath::as_str);
    let status = response.status();
    metric::count(
        Metric::HttpRequests,
        1,
        &[("route", route), ("method", known_method(&method)), ("status", status.as_str())],
    );
    metric::distribution(
        Metric::HttpRequestDuration,
        begun.elapsed().as_secs_f64() * 1_000.0,
        &[("route", route)],
    );
    response
}

/// HTTP lets anybody invent a method.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        _ => "other",
    }
}

/// A body that announces its excess is refused before a byte of it is read.
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

/// The panic hook has reported it with its stack; here only the answer is made. The payload may hold anything: not shown.
fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    Problem::internal().into_response()
}
