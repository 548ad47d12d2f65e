//! The page with the monitors of check-ins.

use askama::Template;
use axum::{extract::State, response::Response};
use chassis::problem::Problem;

use super::{
    HTML,
    format::{Service, clock, optional},
    set_security_headers,
};
use crate::query::{
    lines::stream,
    monitors::{self, Clock, Monitor, Monitors, PERIOD_S},
    params::UrlQueries,
    scan::{WindowParams, window},
    state::Query,
};

/// One monitor, formatted.
struct MonitorLine {
    service: Service,
    last: String,
    interval: String,
    missed_from: String,
    is_bad: bool,
    monitor: Monitor,
}

#[derive(Template)]
#[template(path = "monitors.html")]
struct MonitorsPage {
    at: String,
    lines: Vec<MonitorLine>,
    left_out: u64,
    invalid: u64,
    refused: u64,
    truncated: bool,
}

impl MonitorsPage {
    fn new(query: &Query, found: Monitors, at: f64) -> Self {
        let line = |monitor: Monitor| MonitorLine {
            service: Service::new(&query.projects, &monitor.project),
            last: clock(monitor.last_at),
            interval: schedule(&monitor),
            missed_from: optional(monitor.missed_from, clock),
            is_bad: matches!(monitor.state.as_str(), "missed" | "timeout" | "error"),
            monitor,
        };
        Self {
            at: clock(at),
            lines: found.monitors.into_iter().map(line).collect(),
            left_out: found.left_out,
            invalid: found.invalid,
            refused: found.refused,
            truncated: found.scanned.truncated,
        }
    }
}

fn schedule(monitor: &Monitor) -> String {
    match (&monitor.interval, &monitor.crontab, &monitor.not_evaluated) {
        (Some(interval), ..) => interval.clone(),
        (None, Some(crontab), _) => format!("{crontab} ({})", monitor.timezone),
        (None, None, Some(reason)) => format!("not evaluated: {reason}"),
        (None, None, None) => "–".to_owned(),
    }
}

/// `GET /monitors?since=&project=&period_s=&at=`
pub(super) async fn page(
    State(query): State<Query>,
    UrlQueries(params, time): UrlQueries<WindowParams, Clock>,
) -> Result<Response, Problem> {
    let window = window(&query, &params.or_period_s(PERIOD_S))?;
    let at = time.time();
    let mut response = stream(&query, HTML, move |query, out| {
        MonitorsPage::new(query, monitors::monitors(query, window, at)?, at).write_into(out)?;
        Ok(())
    })
    .await?;
    set_security_headers(response.headers_mut());
    Ok(response)
}
