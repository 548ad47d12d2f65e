//! Query endpoints for people, tests and the command line.
//!
//! They guarantee that an envelope that was acknowledged with 200 is visible. A query waits for the index, and
//! `x-recorder-index-lag` gives the number of envelopes that are still missing. No large response is in memory as a whole.

mod admin;
mod envelopes;
pub(crate) mod issues;
pub(crate) mod lines;
mod signals;
pub(crate) mod traces;

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chassis::{operator::Operator, problem::Problem};
use serde::Deserialize;
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    config::Limits,
    forward::Forwarder,
    index::{Index, IndexError, Page},
    ingest::{Answered, ModeSwitch},
    journal::Journal,
    pages,
    projects::Projects,
};
use lines::Answers;

/// State of the queries. Clones share it.
#[derive(Clone, Debug)]
pub struct Query {
    pub(crate) index: Index,
    pub(crate) journal: Journal,
    pub(crate) projects: Arc<Projects>,
    pub(crate) limits: Limits,
    operator: Operator,
    mode: Arc<ModeSwitch>,
    answered: Arc<Answered>,
    forwarder: Forwarder,
    pub(crate) answers: Answers,
    /// Lock for assembling one trace at a time, because no other part of a response needs as much memory.
    pub(crate) assembling: Arc<Mutex<()>>,
}

/// State that the queries share with ingest.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Switch for simulated outages of ingest.
    pub mode: Arc<ModeSwitch>,
    /// Response counts of ingest.
    pub answered: Arc<Answered>,
    /// Forwarding of copies.
    pub forwarder: Forwarder,
}

impl Query {
    /// Creates the state of the queries.
    #[must_use]
    pub fn new(
        index: Index,
        journal: Journal,
        projects: Arc<Projects>,
        limits: Limits,
        operator: Operator,
        shared: Shared,
    ) -> Self {
        let Shared { mode, answered, forwarder } = shared;
        let (answers, assembling) = (Answers::default(), Arc::default());
        Self { index, journal, projects, limits, operator, mode, answered, forwarder, answers, assembling }
    }
}

/// Returns the routes of the query listener.
pub fn router(query: Query) -> Router {
    Router::new()
        .route("/api/v1/envelopes", get(envelopes::list).delete(admin::forget))
        .route("/api/v1/envelopes/{seq}/raw", get(envelopes::raw))
        .route("/api/v1/traces", get(traces::list))
        .route("/api/v1/traces/{trace_id}", get(traces::one))
        .route("/api/v1/issues", get(issues::list))
        .route("/api/v1/issues/{issue_id}", get(issues::one))
        .route("/api/v1/releases", get(issues::releases))
        .route("/api/v1/metrics", get(signals::metrics))
        .route("/api/v1/logs", get(signals::logs))
        .route("/api/v1/sessions", get(signals::sessions))
        .route("/api/v1/feedback", get(signals::feedback))
        .route("/api/v1/check-ins", get(signals::check_ins))
        .route("/api/v1/profiles", get(signals::profiles))
        .route("/api/v1/replays", get(signals::replays))
        .route("/api/v1/client-reports", get(signals::client_reports))
        .route("/api/v1/ingest/mode", post(admin::set_mode).get(admin::mode))
        .route("/api/v1/status", get(admin::status))
        .merge(pages::router())
        .fallback(|| async { Problem::not_found() })
        .method_not_allowed_fallback(|| async {
            Problem::new(http::StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Not with this method")
        })
        .with_state(query)
        .layer(CatchPanicLayer::new())
}

/// Parameters of every listing: `?since=&project=&limit=`. Only the listing of envelopes uses `type`.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    since: Option<u64>,
    #[serde(default)]
    project: Option<String>,
    #[serde(default)]
    limit: Option<u32>,
    #[serde(default, rename = "type")]
    item_type: Option<String>,
}

impl Wanted {
    /// Returns the requested project.
    pub(crate) fn project(&self) -> Option<&str> {
        self.project.as_deref()
    }
}

/// Checks the parameters. An unknown project is an error of the client, not an empty result.
pub(crate) fn page(query: &Query, wanted: &Wanted, limit: u32) -> Result<Page, Problem> {
    let project = match wanted.project.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => {
            let known = query.projects.find(name);
            Some(known.ok_or_else(|| Problem::bad_request(format!("there is no project \"{name}\"")))?)
        }
        None => None,
    };
    Ok(Page { since: wanted.since.unwrap_or(0), project, limit: wanted.limit.unwrap_or(limit) })
}

/// Runs a blocking query after the index has caught up. Also returns the number of envelopes that the result lacks.
pub(crate) async fn ask<T, F>(query: &Query, question: F) -> Result<(T, u64), Problem>
where
    T: Send + 'static,
    F: FnOnce(&Query) -> Result<T, IndexError> + Send + 'static,
{
    let lag = query.index.caught_up().await;
    let asked = query.clone();
    let answer = tokio::task::spawn_blocking(move || question(&asked)).await;
    match answer {
        Ok(Ok(answer)) => Ok((answer, lag)),
        Ok(Err(error)) => {
            tracing::error!(error = %error, "a query failed");
            Err(Problem::internal())
        }
        Err(panic) => {
            tracing::error!(error = %panic, "a query panicked");
            Err(Problem::internal())
        }
    }
}

/// Marks a response that lacks recent envelopes.
pub(crate) fn with_lag(lag: u64, answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    if lag > 0 {
        response.headers_mut().insert("x-recorder-index-lag", lag.into());
    }
    response
}
