//! The layers around every route, from the outside in: trace, panic, deadline, body limit.

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
use crate::{config::Http, problem::Problem};

/// Puts the common layers around a service's routes, and problems where axum would answer with plain text.
///
/// A trace that comes in is judged by `trust`. A panic in a handler becomes a 500 and an event, never a closed connection;
/// a request that takes too long becomes a 503.
pub fn router(routes: Router, http: &Http, trust: TrustPolicy) -> Router {
    routes
        .fallback(|| async { Problem::not_found() })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Not with this method")
        })
        .layer(DefaultBodyLimit::max(http.body_bytes_max))
        .layer(middleware::from_fn_with_state(http.body_bytes_max, refuse_declared_length))
        .layer(middleware::from_fn_with_state(http.request_deadline(), within_deadline))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(telemetry::http::server_layer(trust))
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
