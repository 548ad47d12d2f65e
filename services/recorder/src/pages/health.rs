//! The page with the health and the adoption of each release.

use askama::Template;
use axum::{extract::State, response::Response};
use chassis::problem::Problem;

use super::{
    HTML,
    format::{Service, clock, optional, percent},
    set_security_headers,
};
use crate::query::{
    health::{self, Health, HealthParams, ReleaseHealth},
    lines::stream,
    params::UrlQuery,
    state::Query,
};

/// One release, formatted.
struct HealthLine {
    service: Service,
    crash_free_sessions: String,
    crash_free_users: String,
    adoption: String,
    adoption_users: String,
    has_crashed: bool,
    health: ReleaseHealth,
}

#[derive(Template)]
#[template(path = "health.html")]
struct HealthPage {
    at: String,
    project: String,
    lines: Vec<HealthLine>,
    truncated: bool,
}

impl HealthPage {
    fn new(query: &Query, project: String, found: Health) -> Self {
        let line = |health: ReleaseHealth| HealthLine {
            service: Service::new(&query.projects, &health.project),
            crash_free_sessions: optional(health.crash_free_sessions, percent),
            crash_free_users: optional(health.crash_free_users, percent),
            adoption: optional(health.adoption_sessions, percent),
            adoption_users: optional(health.adoption_users, percent),
            has_crashed: health.sessions_crashed > 0,
            health,
        };
        Self {
            at: clock(found.at),
            project,
            truncated: found.truncated,
            lines: found.releases.into_iter().map(line).collect(),
        }
    }
}

/// `GET /releases?project=&at=`
pub(super) async fn page(
    State(query): State<Query>,
    UrlQuery(params): UrlQuery<HealthParams>,
) -> Result<Response, Problem> {
    let wanted = health::wanted(&query, &params)?;
    let mut response = stream(&query, HTML, move |query, out| {
        HealthPage::new(query, params.project, health::compute(query, wanted)?).write_into(out)?;
        Ok(())
    })
    .await?;
    set_security_headers(response.headers_mut());
    Ok(response)
}
