//! Release health: crash-free sessions and users, and adoption, of each release in each environment.
//!
//! The figures are those of the day before a moment, which is now unless the request names another. Nothing is stored besides the
//! sessions, so the figures of an earlier moment are those that were shown then, for as long as its sessions are stored.

use std::{
    collections::HashMap,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{extract::State, response::Response};
use chassis::{http::Query as UrlQuery, problem::Problem};
use serde::{Deserialize, Serialize};

use super::{
    lines::{WriteError, stream},
    state::{ListParams, Query, page},
};
use crate::index::{
    health::{self, EnvironmentRow, Range, ReleaseRow},
    read::{self, SessionSums},
};

/// Period in which Sentry counts the sessions of an adoption.
const PERIOD_S: f64 = 24.0 * 60.0 * 60.0;
/// Largest number of releases of an answer, and of environments.
const ROWS_MAX: u32 = 1_000;
/// Share of the sessions of an environment from which Sentry calls a release adopted.
const ADOPTED_FROM: f64 = 0.1;

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
    /// `adopted` or `low_adoption`.
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
    let (environments, releases) = query.index.read(|connection| {
        let range = Range {
            after: read::last_seq_before(connection, microseconds(at - PERIOD_S))?,
            upto: read::last_seq_before(connection, microseconds(at))?,
            project,
            limit: ROWS_MAX + 1,
        };
        Ok((health::environments(connection, range)?, health::releases(connection, range)?))
    })?;
    let listed = ROWS_MAX as usize;
    let truncated = environments.len() > listed || releases.len() > listed;
    let totals: HashMap<(u32, String), SessionSums> = environments
        .into_iter()
        .map(|EnvironmentRow { project, environment, sessions }| ((project, environment), sessions))
        .collect();
    let release = |row: ReleaseRow| {
        let total = totals.get(&(row.project, row.environment.clone())).copied().unwrap_or_default();
        ReleaseHealth::new(query.projects.name(row.project), row, total)
    };
    let releases = releases.into_iter().take(listed).map(release).collect();
    Ok(Health { at, period_s: PERIOD_S, releases, truncated })
}

fn microseconds(seconds: f64) -> u64 {
    // The conversion saturates, also below zero.
    (seconds * 1e6) as u64
}

impl ReleaseHealth {
    fn new(project: String, row: ReleaseRow, total: SessionSums) -> Self {
        let SessionSums { total: sessions, crashed, abnormal, unhandled, errored, users, users_crashed } =
            row.sessions;
        let adoption_sessions = share(sessions, total.total);
        let is_adopted = adoption_sessions.is_some_and(|share| share >= ADOPTED_FROM);
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
            adoption_sessions,
            adoption_users: share(users, total.users),
            stage: if is_adopted { "adopted" } else { "low_adoption" },
        }
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
