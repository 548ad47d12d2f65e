//! Ingest endpoints, which speak the protocol of a Sentry server.
//!
//! They guarantee that 200 means stored. All checks come before that. A refusal has Sentry's own form, `{"detail": …}`.

mod admission;
mod cors;
mod cron;
mod derived;
mod minidump;
mod mode;
mod otlp;
mod receive;
mod receive_body;
mod refusal;
mod security;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    middleware,
    routing::{get, post},
};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{config::Limits, crashes::Crashes, forward::Forwarder, journal::Journal, projects::Projects};

pub use admission::Admission;
pub use mode::{Mode, ModeSwitch};
pub use receive_body::Spool;

/// State of the endpoints. Clones share it.
#[derive(Clone, Debug)]
pub struct Ingest {
    /// Files for incoming bodies that are too large for memory.
    pub spool: Spool,
    /// Storage of the envelopes.
    pub journal: Journal,
    /// Projects that may send.
    pub projects: Arc<Projects>,
    /// Size limits.
    pub limits: Limits,
    /// Limits of concurrent work.
    pub admission: Admission,
    /// Switch for simulated outages.
    pub mode: Arc<ModeSwitch>,
    /// Forwarding of copies.
    pub forwarder: Forwarder,
    /// Response counts for the status query.
    pub answered: Arc<Answered>,
    /// Reading of minidumps, after they are stored.
    pub crashes: Crashes,
    /// Answers before the envelope is stored. Only tests set this, because their check of the guarantee must detect it.
    pub answer_before_write: bool,
}

/// Response counts.
#[derive(Debug, Default)]
pub struct Answered {
    kept: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
}

impl Answered {
    fn count(&self, status: http::StatusCode) {
        let counter = match status.as_u16() {
            ..=299 => &self.kept,
            300..=499 => &self.refused,
            _ => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the numbers of responses with 2xx, 4xx and 5xx.
    #[must_use]
    pub fn counts(&self) -> [u64; 3] {
        [&self.kept, &self.refused, &self.failed].map(|counter| counter.load(Ordering::Relaxed))
    }
}

/// Returns the routes of the ingest listener.
pub fn router(ingest: Ingest) -> Router {
    let answered = Arc::clone(&ingest.answered);
    let mode = Arc::clone(&ingest.mode);
    let endpoints = Router::new()
        .route("/api/{project}/envelope/", post(receive::envelope))
        .route("/api/{project}/envelope", post(receive::envelope))
        .route("/api/{project}/store/", post(receive::store))
        .route("/api/{project}/store", post(receive::store))
        .route("/api/{project}/integration/otlp/v1/traces", post(otlp::traces))
        .route("/api/{project}/integration/otlp/v1/traces/", post(otlp::traces))
        // Sentry's first path of traces, which collectors that were set up then still use.
        .route("/api/{project}/otlp/v1/traces", post(otlp::traces))
        .route("/api/{project}/otlp/v1/traces/", post(otlp::traces))
        .route("/api/{project}/integration/otlp/v1/logs", post(otlp::logs))
        .route("/api/{project}/integration/otlp/v1/logs/", post(otlp::logs))
        .route("/api/{project}/cron/{slug}/{key}", get(cron::with_key).post(cron::with_key))
        .route("/api/{project}/cron/{slug}/{key}/", get(cron::with_key).post(cron::with_key))
        .route("/api/{project}/cron/{slug}", get(cron::without_key).post(cron::without_key))
        .route("/api/{project}/cron/{slug}/", get(cron::without_key).post(cron::without_key))
        .route("/api/{project}/minidump/", post(minidump::upload))
        .route("/api/{project}/minidump", post(minidump::upload))
        .route("/api/{project}/security/", post(security::report))
        .route("/api/{project}/security", post(security::report))
        .route("/api/{project}/csp-report/", post(security::report))
        .route("/api/{project}/csp-report", post(security::report))
        .with_state(ingest)
        // The recorder enforces its own limits, which bound memory more strictly than a single number.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn(move |request, next: middleware::Next| {
            let mode = Arc::clone(&mode);
            async move { mode::apply(&mode, request, next).await }
        }))
        .layer(middleware::from_fn(move |request, next: middleware::Next| {
            let answered = Arc::clone(&answered);
            async move {
                let response: axum::response::Response = next.run(request).await;
                answered.count(response.status());
                response
            }
        }))
        .layer(middleware::from_fn(cors::allow_browsers));
    let routes = Router::new()
        .merge(endpoints)
        .route("/api/0/health/", get(|| async { "ok" }))
        .fallback(|| async { refusal::Refusal::NoSuchEndpoint });
    // The path must be corrected before routing, so this layer wraps all routes.
    Router::new()
        .fallback_service(routes)
        .layer(middleware::map_request(single_slashes))
        .layer(CatchPanicLayer::new())
}

/// Merges repeated slashes, which SDKs send for a DSN with a final slash or a proxy's path, and which Sentry accepts.
async fn single_slashes(mut request: Request) -> Request {
    if request.uri().path().contains("//") {
        let mut path = String::with_capacity(request.uri().path().len());
        for byte in request.uri().path().chars() {
            if byte != '/' || !path.ends_with('/') {
                path.push(byte);
            }
        }
        if let Some(query) = request.uri().query() {
            path.push('?');
            path.push_str(query);
        }
        let mut parts = request.uri().clone().into_parts();
        if let Ok(single) = path.parse() {
            parts.path_and_query = Some(single);
            if let Ok(uri) = http::Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
    }
    request
}
