//! The pages with the alerts: the list beside the states of the rules, and one alert with its findings.

use askama::Template;
use axum::{extract::State, response::Response};
use chassis::{http::Path, problem::Problem};

use super::{
    format::{Service, clock, optional},
    not_found, render,
};
use crate::{
    domain::alerting::{AlertState, Entry, Phase},
    query::{
        alerts::{self, AlertParams, Listed, RuleState},
        params::UrlQuery,
        state::{Query, run_query, with_lag},
    },
};

/// Largest number of findings in words in the list.
const WHAT_MAX: usize = 4;

/// One alert, formatted.
struct AlertLine {
    id: u64,
    name: String,
    severity: &'static str,
    state: &'static str,
    is_firing: bool,
    opened: String,
    last: String,
    resolved: String,
    count: u64,
    /// What it has, with the numbers.
    what: Vec<String>,
    what_more: usize,
}

/// One rule, formatted.
struct RuleLine {
    service: Service,
    phase: &'static str,
    is_firing: bool,
    value: String,
    bad: String,
    since: String,
    rule: RuleState,
}

/// One finding, formatted.
struct EntryLine {
    service: Service,
    at: String,
    ended: String,
    value: String,
    bound: String,
    entry: Entry,
}

#[derive(Template)]
#[template(path = "alerts.html")]
struct AlertsPage {
    evaluated: String,
    late: u64,
    alerts: Vec<AlertLine>,
    rules: Vec<RuleLine>,
}

#[derive(Template)]
#[template(path = "alert.html")]
struct AlertPage {
    line: AlertLine,
    /// Reasons for which findings are part of it, with their numbers.
    folded: Vec<(&'static str, u64)>,
    /// Newest first.
    entries: Vec<EntryLine>,
}

impl From<&Listed> for AlertLine {
    fn from(listed: &Listed) -> Self {
        let alert = &listed.alert;
        let what = alert.keys.iter().map(|(key, count)| format!("{key} × {count}"));
        Self {
            id: alert.id,
            name: alert.name.clone(),
            severity: alert.severity.as_str(),
            state: listed.state.as_str(),
            is_firing: listed.state == AlertState::Firing,
            opened: clock(alert.opened_at),
            last: clock(alert.last_at),
            resolved: optional(alert.resolved_at, clock),
            count: alert.count,
            what: what.take(WHAT_MAX).collect(),
            what_more: alert.keys.len().saturating_sub(WHAT_MAX),
        }
    }
}

impl RuleLine {
    fn new(query: &Query, rule: RuleState) -> Self {
        let bad = match (rule.above, rule.below) {
            (Some(bound), _) => format!("> {bound}"),
            (None, Some(bound)) => format!("< {bound}"),
            (None, None) => "–".to_owned(),
        };
        Self {
            service: Service::new(&query.projects, &rule.project),
            phase: phase(rule.condition.phase),
            is_firing: rule.condition.phase == Phase::Firing,
            value: rule.what.map_or_else(|| optional(rule.condition.value, number), str::to_owned),
            bad,
            since: if rule.condition.since > 0.0 { clock(rule.condition.since) } else { "–".to_owned() },
            rule,
        }
    }
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Ok => "ok",
        Phase::Pending => "pending",
        Phase::Firing => "firing",
        Phase::Resolved => "resolved",
        Phase::NoData => "no data",
    }
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

/// `GET /alerts?limit=`
pub(super) async fn page(
    State(query): State<Query>,
    UrlQuery(params): UrlQuery<AlertParams>,
) -> Result<Response, Problem> {
    let limit = alerts::wanted(params)?;
    let (found, lag) = run_query(&query, move |query| alerts::read(query, limit)).await?;
    let html = render(&AlertsPage {
        evaluated: optional(found.round.evaluated_at, clock),
        late: found.round.late,
        alerts: found.alerts.iter().map(AlertLine::from).collect(),
        rules: found.round.rules.into_iter().map(|rule| RuleLine::new(&query, rule)).collect(),
    });
    Ok(with_lag(lag, html))
}

/// `GET /alerts/{id}`
pub(super) async fn one(State(query): State<Query>, Path(id): Path<u64>) -> Result<Response, Problem> {
    let (found, lag) = run_query(&query, move |query| alerts::read_one(query, id)).await?;
    let Some(listed) = found else { return Ok(with_lag(lag, not_found("There is no such alert."))) };
    let entry = |entry: Entry| EntryLine {
        service: Service::new(&query.projects, &entry.finding.project),
        at: clock(entry.finding.at),
        ended: optional(entry.ended_at, clock),
        value: optional(entry.finding.value, number),
        bound: optional(entry.finding.bound, number),
        entry,
    };
    let html = render(&AlertPage {
        line: AlertLine::from(&listed),
        folded: listed.alert.folded.iter().map(|(reason, count)| (reason.as_str(), *count)).collect(),
        entries: listed.alert.entries.into_iter().rev().map(entry).collect(),
    });
    Ok(with_lag(lag, html))
}
