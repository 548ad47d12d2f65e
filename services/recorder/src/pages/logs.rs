//! The page that searches log entries.

use askama::Template;
use axum::{extract::State, response::Response};
use chassis::problem::Problem;

use super::{
    HTML,
    format::{Service, clock},
    set_security_headers,
};
use crate::{
    protocol::{
        fields::{self, Fields},
        trace::Log,
    },
    query::{
        lines::stream,
        logs::{self, Found, LEVELS, SearchParams},
        params::UrlQuery,
        state::Query,
    },
};

/// One entry, formatted.
struct LogLine {
    at: String,
    service: Service,
    level: String,
    body: String,
    attributes: Vec<(String, String)>,
    trace_id: String,
    span_id: String,
}

impl LogLine {
    fn new(query: &Query, log: Log) -> Self {
        let value =
            |raw: &serde_json::value::RawValue| fields::text(raw).unwrap_or_else(|| raw.get().to_owned());
        let attributes = Fields::parse(log.attributes.get());
        Self {
            at: clock(log.timestamp),
            service: Service::new(&query.projects, &log.project),
            level: log.level.unwrap_or_default(),
            body: log.body.unwrap_or_default(),
            attributes: attributes.iter().map(|(name, raw)| (name.to_owned(), value(raw))).collect(),
            trace_id: log.trace_id.unwrap_or_default(),
            span_id: log.span_id.unwrap_or_default(),
        }
    }
}

/// A value of a field with choices.
struct Choice {
    label: String,
    is_on: bool,
}

impl Choice {
    fn new(label: &str, chosen: &str) -> Self {
        Self { label: label.to_owned(), is_on: label == chosen }
    }
}

#[derive(Template)]
#[template(path = "logs.html")]
struct LogsPage {
    params: SearchParams,
    /// The parameters without the place, for links.
    filter: String,
    services: Vec<Choice>,
    levels: Vec<Choice>,
    lines: Vec<LogLine>,
    next: Option<String>,
    envelopes: u64,
    truncated: bool,
}

impl LogsPage {
    fn new(query: &Query, params: SearchParams, found: Found) -> Self {
        let mut known: Vec<_> = query.projects.all().collect();
        known.sort_by_key(|project| project.id);
        Self {
            services: known.into_iter().map(|project| Choice::new(&project.name, &params.project)).collect(),
            levels: LEVELS.into_iter().map(|level| Choice::new(level, &params.level)).collect(),
            filter: filter(&params),
            lines: found.logs.into_iter().map(|log| LogLine::new(query, log)).collect(),
            next: found.next,
            envelopes: found.envelopes,
            truncated: found.truncated,
            params,
        }
    }
}

fn filter(params: &SearchParams) -> String {
    let SearchParams { trace, level, attribute, text, project, .. } = params;
    let fields =
        [("project", project), ("level", level), ("text", text), ("attribute", attribute), ("trace", trace)];
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// `GET /logs`, with the parameters of the search
pub(super) async fn page(
    State(query): State<Query>,
    UrlQuery(params): UrlQuery<SearchParams>,
) -> Result<Response, Problem> {
    let wanted = logs::search(&query, &params)?;
    let mut response = stream(&query, HTML, move |query, out| {
        LogsPage::new(query, params, logs::find(query, &wanted)?).write_into(out)?;
        Ok(())
    })
    .await?;
    set_security_headers(response.headers_mut());
    Ok(response)
}
