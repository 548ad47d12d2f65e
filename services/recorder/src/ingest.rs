//! What SDKs talk to: the Sentry protocol as a Sentry server speaks it.
//!
//! Promise: 200 means kept. Everything else is said in Sentry's own form, `{"detail": …}`, before anything was kept.

mod admission;
mod answer;
mod arrive;
mod cors;
mod mode;
mod receive;

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

use crate::{config::Limits, forward::Forwarder, journal::Journal, projects::Projects};

pub use admission::Admission;
pub use arrive::Spool;
pub use mode::{Mode, ModeSwitch};

/// What the endpoints work with; clones share it.
#[derive(Clone, Debug)]
pub struct Ingest {
    /// Where bodies wait that are too large for memory.
    pub spool: Spool,
    /// Where envelopes are kept.
    pub journal: Journal,
    /// Who may send.
    pub projects: Arc<Projects>,
    /// How large things may be.
    pub limits: Limits,
    /// How many may be worked on.
    pub admission: Admission,
    /// Whether it plays dead.
    pub mode: Arc<ModeSwitch>,
    /// Where copies go.
    pub forwarder: Forwarder,
    /// What was answered, for the status query.
    pub answered: Arc<Answered>,
    /// Answers before anything is kept: only for the twin that the tests must see fail.
    pub answer_before_write: bool,
}

/// Counts of answers.
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

    /// Answered 200, 4xx, 5xx.
    #[must_use]
    pub fn counts(&self) -> [u64; 3] {
        [&self.kept, &self.refused, &self.failed].map(|counter| counter.load(Ordering::Relaxed))
    }
}

/// The ingest listener's routes.
pub fn router(ingest: Ingest) -> Router {
    let answered = Arc::clone(&ingest.answered);
    let mode = Arc::clone(&ingest.mode);
    let endpoints = Router::new()
        .route("/api/{project}/envelope/", post(receive::envelope))
        .route("/api/{project}/envelope", post(receive::envelope))
        .route("/api/{project}/store/", post(receive::store))
        .route("/api/{project}/store", post(receive::store))
        .with_state(ingest)
        // The limits are ours, and stricter about memory than one number.
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
        .fallback(|| async { answer::Refusal::NoSuchEndpoint });
    // Routes are looked up after the path was put right, so this goes around all of them.
    Router::new()
        .fallback_service(routes)
        .layer(middleware::map_request(single_slashes))
        .layer(CatchPanicLayer::new())
}

/// SDKs join paths with a slash too many (a DSN that ends with one, a path of a proxy); Sentry takes it.
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
