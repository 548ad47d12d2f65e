//! `GET /api/v1/lag`: `{groups: [{group, topic, partition, lag_messages, lag_seconds, committed, end, members}], age_ms}`.

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

/// Response body: the lag of every partition and the age of the reading.
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::watch::Reading;

    #[tokio::test]
    async fn a_reading_that_is_missing_or_too_old_is_a_503() {
        let board = Arc::new(Board::default());
        let status = async |age_max_s: u64| {
            let source = Source { board: Arc::clone(&board), age_max: Duration::from_secs(age_max_s) };
            show(State(source)).await.map_or_else(|problem| problem.status().as_u16(), |_| 200)
        };
        assert_eq!(status(3_600).await, 503);
        let taken_at = Instant::now().checked_sub(Duration::from_secs(31)).unwrap();
        board.hang(Reading { lags: Arc::default(), taken_at });
        assert_eq!((status(3_600).await, status(30).await), (200, 503));
    }
}
