//! Release health: crash-free sessions and users, and adoption, of each release in each environment.
//!
//! The figures are those of the day before a moment, which is now unless the request names another. Nothing is stored besides the
//! sessions, so the figures of an earlier moment are those that were shown then, for as long as its sessions are stored.

mod adoption;

use std::{
    collections::HashMap,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{extract::State, response::Response};
use chassis::problem::Problem;
use serde::{Deserialize, Serialize};

use super::{
    lines::{WriteError, stream},
    params::UrlQuery,
    state::{ListParams, Query, page},
};
use crate::index::{
    health::{self, EnvironmentRow, Range, ReleaseRow},
    read::{self, SessionSums},
};
use adoption::{Adoption, HOURS};

/// Period in which Sentry counts the sessions of an adoption.
const PERIOD_S: f64 = 24.0 * 60.0 * 60.0;
/// Largest number of releases of an answer, and of environments.
const ROWS_MAX: u32 = 1_000;
/// Length of an hour.
const HOUR_S: f64 = 60.0 * 60.0;

/// Parameters: `?project=&at=`.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct HealthParams {
    #[serde(default)]
    pub(crate) project: String,
    /// End of the day, in seconds since the epoch.
    #[serde(default)]
    at: Option<f64>,
}

/// A checked request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    project: Option<u32>,
    at: f64,
}

/// Answer of [`list`].
#[derive(Debug, Serialize)]
pub(crate) struct Health {
    /// End of the day.
    pub(crate) at: f64,
    pub(crate) period_s: f64,
    pub(crate) releases: Vec<ReleaseHealth>,
    /// True when there are more releases or environments than are listed.
    pub(crate) truncated: bool,
}

/// Figures of one release in one environment. A share without anything to divide by is null.
#[derive(Debug, Serialize)]
pub(crate) struct ReleaseHealth {
    pub(crate) project: String,
    pub(crate) environment: String,
    pub(crate) release: String,
    pub(crate) sessions: u64,
    pub(crate) sessions_crashed: u64,
    pub(crate) sessions_abnormal: u64,
    pub(crate) sessions_unhandled: u64,
    pub(crate) sessions_errored: u64,
    pub(crate) crash_free_sessions: Option<f64>,
    pub(crate) users: u64,
    pub(crate) users_crashed: u64,
    pub(crate) crash_free_users: Option<f64>,
    /// Share of the sessions of the project in this environment.
    pub(crate) adoption_sessions: Option<f64>,
    /// Share of the users of the project in this environment.
    pub(crate) adoption_users: Option<f64>,
    /// `adopted`, `low_adoption` or `replaced`.
    pub(crate) stage: &'static str,
}

/// `GET /api/v1/release-health`
pub(super) async fn list(
    State(query): State<Query>,
    UrlQuery(params): UrlQuery<HealthParams>,
) -> Result<Response, Problem> {
    let wanted = wanted(&query, &params)?;
    stream(&query, "application/json", move |query, out| {
        serde_json::to_writer(&mut *out, &compute(query, wanted)?)?;
        Ok(())
    })
    .await
}

/// Checks the parameters.
pub(crate) fn wanted(query: &Query, params: &HealthParams) -> Result<Wanted, Problem> {
    let named = (!params.project.is_empty()).then(|| params.project.clone());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let at = params.at.unwrap_or(now);
    if !at.is_finite() || at < 0.0 {
        return Err(Problem::bad_request("at must be a number of seconds since the epoch"));
    }
    Ok(Wanted { project: page(query, &ListParams::of(None, named), ROWS_MAX)?.project, at })
}

/// Computes the figures.
pub(crate) fn compute(query: &Query, wanted: Wanted) -> Result<Health, WriteError> {
    let Wanted { project, at } = wanted;
    let (environments, releases, hours) = query.index.read(|connection| {
        let end_us = microseconds(at);
        let upto = read::last_seq_before(connection, end_us)?;
        let since = |seconds: f64| read::last_seq_before(connection, microseconds(at - seconds));
        let day = Range { after: since(PERIOD_S)?, upto, project, limit: ROWS_MAX + 1 };
        let after = since(HOURS as f64 * HOUR_S)?;
        let longer = Range { after, limit: (ROWS_MAX + 1) * HOURS as u32, ..day };
        let hours = health::hours(connection, longer, end_us)?;
        Ok((health::environments(connection, day)?, health::releases(connection, day)?, hours))
    })?;
    let mut adoption = Adoption::default();
    hours.into_iter().for_each(|row| adoption.add(row));
    let listed = ROWS_MAX as usize;
    let truncated = environments.len() > listed || releases.len() > listed;
    let totals: HashMap<(u32, String), SessionSums> = environments
        .into_iter()
        .map(|EnvironmentRow { project, environment, sessions }| ((project, environment), sessions))
        .collect();
    let release = |row: ReleaseRow| {
        let total = totals.get(&(row.project, row.environment.clone())).copied().unwrap_or_default();
        let stage = adoption.stage(row.project, &row.environment, &row.release);
        ReleaseHealth::new(query.projects.name(row.project), row, total, stage)
    };
    let releases = releases.into_iter().take(listed).map(release).collect();
    Ok(Health { at, period_s: PERIOD_S, releases, truncated })
}

fn microseconds(seconds: f64) -> u64 {
    // The conversion saturates, also below zero.
    (seconds * 1e6) as u64
}

impl ReleaseHealth {
    fn new(project: String, row: ReleaseRow, total: SessionSums, stage: &'static str) -> Self {
        let SessionSums { total: sessions, crashed, abnormal, unhandled, errored, users, users_crashed } =
            row.sessions;
        Self {
            project,
            environment: row.environment,
            release: row.release,
            sessions,
            sessions_crashed: crashed,
            sessions_abnormal: abnormal,
            sessions_unhandled: unhandled,
            sessions_errored: errored,
            crash_free_sessions: share(crashed, sessions).map(|crashed| 1.0 - crashed),
            users,
            users_crashed,
            crash_free_users: share(users_crashed, users).map(|crashed| 1.0 - crashed),
            adoption_sessions: share(sessions, total.total),
            adoption_users: share(users, total.users),
            stage,
        }
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        journal::{Append, BodyKind, Encoding},
        protocol::{digest, envelope::Envelope},
        query::test_query,
    };

    /// A time within an hour, so that hours are counted from the end of the range.
    const START: f64 = 1_700_001_234.0;

    async fn store(query: &Query, at: f64, item_type: &str, payload: Value) {
        let text = format!("{{}}\n{{\"type\":\"{item_type}\"}}\n{payload}\n");
        let envelope = Envelope::parse(text.as_bytes()).expect("an envelope");
        let digest = digest::digest(1, at, &envelope);
        let (kind, encoding) = (BodyKind::Envelope, Encoding::Identity);
        let body = Bytes::from(text.clone()).into();
        let append = Append { received_at_us: microseconds(at), project: 1, kind, encoding, body, digest };
        query.journal.append(append).await.expect("stored");
    }

    async fn store_sum(query: &Query, at: f64, release: &str, exited: u64) {
        let attributes = json!({"release": release, "environment": "prod"});
        let payload = json!({"aggregates": [{"exited": exited}], "attrs": attributes});
        store(query, at, "sessions", payload).await;
    }

    async fn store_session(query: &Query, at: f64, release: &str) {
        let attributes = json!({"release": release, "environment": "prod"});
        store(query, at, "session", json!({"sid": "s1", "status": "ok", "attrs": attributes})).await;
    }

    #[tokio::test]
    async fn release_is_replaced_by_the_next_one() {
        let directory = tempfile::tempdir().expect("a folder");
        let (query, threads) = test_query::open(directory.path());
        store_sum(&query, START, "game@1.0.0", 90).await;
        store_session(&query, START + 1.0, "game@1.1.0").await;
        store_sum(&query, START + 7.0 * HOUR_S, "game@1.1.0", 30).await;
        // An update of a session is no further session.
        store_session(&query, START + 7.5 * HOUR_S, "game@1.1.0").await;
        assert_eq!(query.index.caught_up().await, 0);
        for (after_hours, expected) in [
            (1.0, vec![("game@1.0.0", 90, "adopted"), ("game@1.1.0", 1, "low_adoption")]),
            (6.5, vec![("game@1.0.0", 90, "adopted"), ("game@1.1.0", 1, "low_adoption")]),
            (8.0, vec![("game@1.0.0", 90, "replaced"), ("game@1.1.0", 31, "adopted")]),
            (25.0, vec![("game@1.1.0", 31, "adopted")]),
            (40.0, vec![]),
        ] {
            let wanted = Wanted { project: None, at: START + after_hours * HOUR_S };
            let health = compute(&query, wanted).expect("figures");
            let found: Vec<_> = health
                .releases
                .iter()
                .map(|release| (release.release.as_str(), release.sessions, release.stage))
                .collect();
            assert_eq!(found, expected, "after {after_hours} hours");
        }
        test_query::close(&query, threads).await;
    }
}
