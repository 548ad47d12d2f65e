//! Alerts: evaluation of the declared rules over recorded envelopes, and the queries for what it found (`docs/ALERTS.md`).
//!
//! [`watch`] reads each new envelope once and evaluates the rules in rounds. [`crate::domain::alerting`] decides what fires and what
//! belongs to one alert. Alerts are stored in the journal, so that a restart and an index that is rebuilt have the same ones.

mod collect;
mod evaluate;
pub(crate) mod watch;

use std::sync::{Arc, Mutex, PoisonError};

use axum::{Json, extract::State, response::Response};
use chassis::{http::Path, problem::Problem};
use rules::Threshold;
use serde::{Deserialize, Serialize};

use super::{
    params::UrlQuery,
    state::{Query, checked_limit, run_query, with_lag},
};
use crate::{
    domain::alerting::{ALERTS_MAX, Alert, AlertState, Condition},
    index::{IndexError, alerts as stored},
};

/// Parameters of the list.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct AlertParams {
    #[serde(default)]
    limit: Option<u32>,
}

/// State of one rule in one project, or of a monitor of check-ins that is or was bad.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RuleState {
    /// Slug of the rule, or `check-in` with that of the monitor.
    pub(crate) rule: String,
    pub(crate) name: String,
    pub(crate) project: String,
    #[serde(flatten)]
    pub(crate) condition: Condition,
    /// State of a monitor, which has no value: `missed`, `timeout`, `error` or `ok`. `None` for a rule, and for a monitor that was not
    /// judged since the start.
    pub(crate) what: Option<&'static str>,
    /// Values above it are bad.
    pub(crate) above: Option<f64>,
    /// Values below it are bad.
    pub(crate) below: Option<f64>,
    pub(crate) window_s: Option<u32>,
    /// Longest time from a bad measurement to the alert.
    pub(crate) fires_within_s: Option<u32>,
}

/// What the last round found. Shared with the queries.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Round {
    /// Time of the round. `None` before the first one.
    pub(crate) evaluated_at: Option<f64>,
    /// Everything up to this `seq` was read.
    pub(crate) upto: u64,
    /// Number of values that arrived after the window of their rule, which no evaluation sees.
    pub(crate) late: u64,
    pub(crate) rules: Vec<RuleState>,
}

/// The last round.
pub(crate) type SharedRound = Arc<Mutex<Round>>;

/// An alert with its state.
#[derive(Debug, Serialize)]
pub(crate) struct Listed {
    pub(crate) state: AlertState,
    #[serde(flatten)]
    pub(crate) alert: Alert,
}

/// Answer of [`list`].
#[derive(Debug, Serialize)]
pub(crate) struct Alerts {
    #[serde(flatten)]
    pub(crate) round: Round,
    /// Newest first.
    pub(crate) alerts: Vec<Listed>,
}

impl From<Alert> for Listed {
    fn from(alert: Alert) -> Self {
        Self { state: alert.state(), alert }
    }
}

impl RuleState {
    fn of(rule: &rules::Rule, project: &str, condition: Condition) -> Self {
        let (above, below) = match rule.firing {
            Threshold::Above(bound) => (Some(bound), None),
            Threshold::Below(bound) => (None, Some(bound)),
        };
        Self {
            rule: rule.slug.clone(),
            name: rule.name.clone(),
            project: project.to_owned(),
            condition,
            what: None,
            above,
            below,
            window_s: Some(rule.window_s),
            fires_within_s: Some(rule.fires_within_s()),
        }
    }

    fn of_monitor(monitor: &str, project: &str, condition: Condition, what: Option<&'static str>) -> Self {
        Self {
            rule: format!("check-in {monitor}"),
            name: format!("Check-ins of {monitor}"),
            project: project.to_owned(),
            condition,
            what,
            above: None,
            below: None,
            window_s: None,
            fires_within_s: None,
        }
    }
}

/// Returns the number of alerts that are asked for.
pub(crate) fn wanted(params: AlertParams) -> Result<usize, Problem> {
    let limit = checked_limit(params.limit)?.map_or(ALERTS_MAX, |limit| limit as usize);
    Ok(limit.min(ALERTS_MAX))
}

/// Returns the newest alerts, and what the last round found.
pub(crate) fn read(query: &Query, limit: usize) -> Result<Alerts, IndexError> {
    let mut alerts = query.read_index(stored::alerts)?;
    alerts.truncate(limit);
    let round = query.round.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(Alerts { round, alerts: alerts.into_iter().map(Listed::from).collect() })
}

/// Returns one alert.
pub(crate) fn read_one(query: &Query, id: u64) -> Result<Option<Listed>, IndexError> {
    Ok(query.read_index(|connection| stored::alert(connection, id))?.map(Listed::from))
}

/// `GET /api/v1/alerts?limit=`: states of the rules and alerts, newest first.
pub(super) async fn list(
    State(query): State<Query>,
    UrlQuery(params): UrlQuery<AlertParams>,
) -> Result<Response, Problem> {
    let limit = wanted(params)?;
    let (alerts, lag) = run_query(&query, move |query| read(query, limit)).await?;
    Ok(with_lag(lag, Json(alerts)))
}

/// `GET /api/v1/alerts/{id}`
pub(super) async fn one(State(query): State<Query>, Path(id): Path<u64>) -> Result<Response, Problem> {
    let (alert, lag) = run_query(&query, move |query| read_one(query, id)).await?;
    let alert = alert.ok_or_else(|| Problem::not_found().detail(format!("there is no alert {id}")))?;
    Ok(with_lag(lag, Json(alert)))
}
