//! Figures of Sentry's prebuilt dashboards for queues, queries and caches, computed from recorded envelopes.
//!
//! The rules and their sources are in `docs/DASHBOARDS.md`. Counts are of the recorded spans. Sentry weighs each span with its
//! sampling rate, which is the same where everything is recorded.

pub(crate) mod caches;
pub(crate) mod durations;
pub(crate) mod flow;
mod normalised;
pub(crate) mod offsets;
pub(crate) mod queries;
pub(crate) mod queues;
mod rows;
pub(crate) mod runtime;

use axum::{extract::State, response::Response};
use chassis::problem::Problem;
use serde::Serialize;

use super::{
    lines::{WriteError, stream},
    params::{UrlQueries, UrlQuery},
    scan::{Window, WindowParams, window},
    state::Query,
};

/// Content type of an answer.
const JSON: &str = "application/json";

/// Moments of the first start and the last end of the spans of a dashboard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    first: f64,
    last: f64,
}

impl Default for Extent {
    fn default() -> Self {
        Self { first: f64::INFINITY, last: f64::NEG_INFINITY }
    }
}

impl Extent {
    fn add(&mut self, start: f64, end: f64) {
        self.first = self.first.min(start);
        self.last = self.last.max(end);
    }
}

/// Returns the mean of a sum. `None` without values.
fn mean(sum: f64, count: u64) -> Option<f64> {
    (count > 0).then(|| sum / count as f64)
}

/// `GET /api/v1/dashboards/queues?since=&project=&period_s=`
pub(super) async fn queues_json(
    State(query): State<Query>,
    UrlQuery(params): UrlQuery<WindowParams>,
) -> Result<Response, Problem> {
    dashboard(&query, &params, queues::compute).await
}

/// `GET /api/v1/dashboards/queries?since=&project=&period_s=&system=&action=&domain=`
pub(super) async fn queries_json(
    State(query): State<Query>,
    UrlQueries(params, filter): UrlQueries<WindowParams, queries::Filter>,
) -> Result<Response, Problem> {
    let compute = move |query: &Query, window: Window| queries::compute(query, window, &filter);
    dashboard(&query, &params, compute).await
}

/// `GET /api/v1/dashboards/caches?since=&project=&period_s=`
pub(super) async fn caches_json(
    State(query): State<Query>,
    UrlQuery(params): UrlQuery<WindowParams>,
) -> Result<Response, Problem> {
    dashboard(&query, &params, caches::compute).await
}

/// `GET /api/v1/dashboards/runtime?since=&project=&period_s=`
pub(super) async fn runtime_json(
    State(query): State<Query>,
    UrlQuery(params): UrlQuery<WindowParams>,
) -> Result<Response, Problem> {
    dashboard(&query, &params, runtime::compute).await
}

/// Computes the figures of a dashboard and streams them as JSON.
async fn dashboard<T: Serialize + 'static>(
    query: &Query,
    params: &WindowParams,
    compute: impl FnOnce(&Query, Window) -> Result<T, WriteError> + Send + 'static,
) -> Result<Response, Problem> {
    let window = window(query, params)?;
    stream(query, JSON, move |query, out| {
        serde_json::to_writer(&mut *out, &compute(query, window)?)?;
        Ok(())
    })
    .await
}
