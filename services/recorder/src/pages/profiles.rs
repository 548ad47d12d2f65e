//! The page with the newest profiles and chunks, each with its flame graph.

use askama::Template;
use axum::{extract::State, response::Response};
use chassis::problem::Problem;

use super::{
    HTML,
    format::{Service, clock},
    set_security_headers,
};
use crate::query::{
    lines::stream,
    params::UrlQuery,
    profiles::{self, ListedProfile},
    state::{ListParams, Query, page as checked_page},
};

/// Number of profiles on the page, unless the request names another.
const LISTED: u32 = 60;
/// Largest number of profiles on the page.
const LISTED_MAX: u32 = 500;

/// One profile, formatted.
struct ProfileLine {
    at: String,
    service: Service,
    is_chunk: bool,
    seconds: String,
    profile: ListedProfile,
}

#[derive(Template)]
#[template(path = "profiles.html")]
struct ProfilesPage {
    lines: Vec<ProfileLine>,
}

impl ProfilesPage {
    fn new(query: &Query, found: Vec<ListedProfile>) -> Self {
        let line = |profile: ListedProfile| ProfileLine {
            at: clock(profile.received_at),
            service: Service::new(&query.projects, &profile.project),
            is_chunk: profile.item_type == "profile_chunk",
            seconds: profile
                .summary
                .period
                .map_or_else(String::new, |(from, to)| format!("{:.1} s", to - from)),
            profile,
        };
        Self { lines: found.into_iter().map(line).collect() }
    }
}

/// `GET /profiles?since=&project=&limit=`: the newest ones. `since` has no effect.
pub(super) async fn page(
    State(query): State<Query>,
    UrlQuery(params): UrlQuery<ListParams>,
) -> Result<Response, Problem> {
    let page = checked_page(&query, &params, LISTED)?;
    let mut response = stream(&query, HTML, move |query, out| {
        let found = profiles::recent(query, page.project, page.limit.min(LISTED_MAX))?;
        ProfilesPage::new(query, found).write_into(out)?;
        Ok(())
    })
    .await?;
    set_security_headers(response.headers_mut());
    Ok(response)
}
