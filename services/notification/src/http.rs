//! Internal HTTP interface: lists the e-mails that were given up and retries one of them.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use chassis::http::{Json, Path, Query};
use chassis::problem::Problem;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use store::StoreError;
use store::bson::DateTime;
use tokio::sync::Notify;

use crate::notifications::{Notification, Notifications};

/// Maximum number of entries in one response.
const PARKED_MAX: u32 = 1_000;

/// Shared state of the routes.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    pub(crate) notifications: Notifications,
    pub(crate) wake: Arc<Notify>,
}

/// Returns all routes.
pub(crate) fn routes(sources: Sources) -> Router {
    Router::new()
        .route("/internal/v1/parked", get(parked))
        .route("/internal/v1/parked/{event_id}/retry", post(retry))
        .with_state(sources)
}

/// Query parameters of the list.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Page {
    /// Time of the last entry that the client has.
    after_epoch_ms: i64,
    limit: Option<u32>,
}

/// One page of the list, the oldest first.
#[derive(Debug, Serialize)]
struct Parked {
    parked: Vec<ParkedView>,
}

/// An e-mail that was given up. It does not contain the address.
#[derive(Debug, Serialize)]
struct ParkedView {
    event_id: String,
    player_id: String,
    why: Option<String>,
    attempts: i32,
    unknown: u32,
    put_off: u32,
    at_epoch_ms: Option<i64>,
}

async fn parked(State(sources): State<Sources>, Query(page): Query<Page>) -> Result<Json<Parked>, Problem> {
    let after = DateTime::from_millis(page.after_epoch_ms);
    let limit = page.limit.unwrap_or(PARKED_MAX).clamp(1, PARKED_MAX);
    let found = sources.notifications.parked(after, limit).await.map_err(|error| unavailable(&error))?;
    Ok(Json(Parked { parked: found.into_iter().map(ParkedView::from).collect() }))
}

async fn retry(State(sources): State<Sources>, Path(event_id): Path<String>) -> Result<StatusCode, Problem> {
    let is_retried = sources.notifications.retry(&event_id).await.map_err(|error| unavailable(&error))?;
    if !is_retried {
        return Err(Problem::not_found());
    }
    sources.wake.notify_one();
    Ok(StatusCode::ACCEPTED)
}

fn unavailable(error: &StoreError) -> Problem {
    tracing::warn!(error = %error, "reading or retrying parked e-mails failed");
    Problem::unavailable("the document store does not answer")
}

impl From<Notification> for ParkedView {
    fn from(parked: Notification) -> Self {
        let tally = parked.tally();
        Self {
            event_id: parked.event_id().to_owned(),
            player_id: parked.player_id,
            why: parked.why,
            attempts: parked.attempts,
            unknown: tally.unknown,
            put_off: tally.put_off,
            at_epoch_ms: parked.ended_at.map(DateTime::timestamp_millis),
        }
    }
}
