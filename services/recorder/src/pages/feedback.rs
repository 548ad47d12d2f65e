//! The page with what users wrote.

use askama::Template;
use axum::{extract::State, response::Response};
use chassis::problem::Problem;
use serde::Deserialize;

use super::{
    HTML,
    format::{Service, clock},
    set_security_headers,
};
use crate::query::{
    feedback::{self, Feedback, Recent},
    lines::stream,
    params::UrlQuery,
    state::{ListParams, Query, page as listed},
};

/// Parameters: `?project=`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct FeedbackParams {
    #[serde(default)]
    project: Option<String>,
}

/// One entry, formatted.
struct FeedbackLine {
    at: String,
    service: Service,
    feedback: Feedback,
}

#[derive(Template)]
#[template(path = "feedback.html")]
struct FeedbackPage {
    lines: Vec<FeedbackLine>,
    truncated: bool,
}

impl FeedbackPage {
    fn new(query: &Query, found: Recent) -> Self {
        let line = |feedback: Feedback| FeedbackLine {
            at: clock(feedback.received_at),
            service: Service::new(&query.projects, &feedback.project),
            feedback,
        };
        Self { lines: found.entries.into_iter().map(line).collect(), truncated: found.truncated }
    }
}

/// `GET /feedback?project=`
pub(super) async fn page(
    State(query): State<Query>,
    UrlQuery(params): UrlQuery<FeedbackParams>,
) -> Result<Response, Problem> {
    let project = listed(&query, &ListParams::of(None, params.project), 0)?.project;
    let mut response = stream(&query, HTML, move |query, out| {
        FeedbackPage::new(query, feedback::recent(query, project)?).write_into(out)?;
        Ok(())
    })
    .await?;
    set_security_headers(response.headers_mut());
    Ok(response)
}
