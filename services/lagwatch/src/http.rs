//! `GET /api/v1/lag`: the last reading.
//!
//! `{groups: [{group, topic, partition, lag_messages, held_messages, lag_seconds, committed, end, stable_end, members,
//! is_beyond_end}], states: [{group, state, members, joins}], number, watched_s, age_ms}`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use bus::lag::{GroupStatus, PartitionLag};
use chassis::http::Json;
use chassis::problem::Problem;
use serde::Serialize;

use crate::watch::LagCache;

#[derive(Clone)]
struct Source {
    cache: Arc<LagCache>,
    age_max: Duration,
}

/// Response body.
#[derive(Debug, Serialize)]
struct Lag {
    /// Lag of each group on each of its partitions.
    groups: Vec<PartitionLag>,
    /// State of each group.
    states: Vec<GroupStatus>,
    /// Number of the reading since the service started.
    number: u64,
    /// Time from the first reading to this one. Only records that appeared since then have been seen from their beginning.
    watched_s: u64,
    /// Age of the reading.
    age_ms: u64,
}

pub(crate) fn routes(cache: Arc<LagCache>, answer_age_ms_max: u64) -> Router {
    let source = Source { cache, age_max: Duration::from_millis(answer_age_ms_max) };
    Router::new().route("/api/v1/lag", get(show).with_state(source))
}

async fn show(State(source): State<Source>) -> Result<Json<Lag>, Problem> {
    let cached = source
        .cache
        .get(source.age_max)
        .ok_or_else(|| Problem::unavailable("there is no recent reading of the lag, try again later"))?;
    Ok(Json(Lag {
        groups: cached.reading.partitions.clone(),
        states: cached.reading.groups.clone(),
        number: cached.number,
        watched_s: cached.taken_at.duration_since(cached.first_at).as_secs(),
        age_ms: u64::try_from(cached.taken_at.elapsed().as_millis()).unwrap_or(u64::MAX),
    }))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bus::lag::Reading;

    use super::*;

    #[tokio::test]
    async fn missing_or_old_reading_is_503() {
        let cache = Arc::new(LagCache::default());
        let status = async |age_max_s: u64| {
            let source = Source { cache: Arc::clone(&cache), age_max: Duration::from_secs(age_max_s) };
            show(State(source)).await.map_or_else(|problem| problem.status().as_u16(), |_| 200)
        };
        assert_eq!(status(3_600).await, 503);
        let taken_at = Instant::now().checked_sub(Duration::from_secs(31)).unwrap();
        cache.set(Reading::default(), taken_at);
        assert_eq!((status(3_600).await, status(30).await), (200, 503));
    }

    #[tokio::test]
    async fn readings_are_numbered_from_the_first() {
        let cache = Arc::new(LagCache::default());
        let now = Instant::now();
        cache.set(Reading::default(), now.checked_sub(Duration::from_secs(5)).unwrap());
        cache.set(Reading::default(), now);
        let source = Source { cache, age_max: Duration::from_secs(3_600) };
        let Ok(Json(lag)) = show(State(source)).await else { panic!("no answer") };
        assert_eq!((lag.number, lag.watched_s), (2, 5));
    }
}
