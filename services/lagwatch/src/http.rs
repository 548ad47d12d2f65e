//! `GET /api/v1/lag`: `{groups: [{group, topic, partition, lag_messages, lag_seconds, committed, end, members}]}`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use bus::lag::PartitionLag;
use chassis::http::Json;
use chassis::problem::Problem;
use serde::Serialize;

use crate::watch::Board;

#[derive(Clone)]
struct Source {
    board: Arc<Board>,
    age_max: Duration,
}

/// The answer: the contract's member and how old the reading is.
#[derive(Debug, Serialize)]
struct Lag {
    groups: Vec<PartitionLag>,
    age_ms: u64,
}

pub(crate) fn routes(board: Arc<Board>, answer_age_ms_max: u64) -> Router {
    let source = Source { board, age_max: Duration::from_millis(answer_age_ms_max) };
    Router::new().route("/api/v1/lag", get(show).with_state(source))
}

async fn show(State(source): State<Source>) -> Result<Json<Lag>, Problem> {
    let reading = source
        .board
        .reading(source.age_max)
        .ok_or_else(|| Problem::unavailable("the broker cannot be seen"))?;
    Ok(Json(Lag {
        groups: reading.lags.to_vec(),
        age_ms: u64::try_from(reading.taken_at.elapsed().as_millis()).unwrap_or(u64::MAX),
    }))
}
