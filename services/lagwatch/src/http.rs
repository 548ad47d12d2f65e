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

use crate::watch::LagCache;

#[derive(Clone)]
struct Source {
    cache: Arc<LagCache>,
    age_max: Duration,
}

/// Response body: the lag of every partition and the age of the reading.
#[derive(Debug, Serialize)]
struct Lag {
    groups: Vec<PartitionLag>,
    age_ms: u64,
}

pub(crate) fn routes(cache: Arc<LagCache>, answer_age_ms_max: u64) -> Router {
    let source = Source { cache, age_max: Duration::from_millis(answer_age_ms_max) };
    Router::new().route("/api/v1/lag", get(show).with_state(source))
}

async fn show(State(source): State<Source>) -> Result<Json<Lag>, Problem> {
    let reading = source
        .cache
        .get(source.age_max)
        .ok_or_else(|| Problem::unavailable("there is no recent reading of the lag, try again later"))?;
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
    async fn missing_or_old_reading_is_503() {
        let cache = Arc::new(LagCache::default());
        let status = async |age_max_s: u64| {
            let source = Source { cache: Arc::clone(&cache), age_max: Duration::from_secs(age_max_s) };
            show(State(source)).await.map_or_else(|problem| problem.status().as_u16(), |_| 200)
        };
        assert_eq!(status(3_600).await, 503);
        let taken_at = Instant::now().checked_sub(Duration::from_secs(31)).unwrap();
        cache.set(Reading { lags: Arc::default(), taken_at });
        assert_eq!((status(3_600).await, status(30).await), (200, 503));
    }
}
