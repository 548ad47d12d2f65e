//! HTML pages for people: recent traces and issues, one trace as a waterfall, one issue, logs, profiles and their flame
//! graphs, releases, alerts, monitors, feedback, dashboards, and the scorecard.
//!
//! They guarantee plain HTML without scripts and external resources. Text from senders is never markup, because askama
//! escapes it and the content security policy blocks the rest.

mod alerts;
mod dashboards;
mod feedback;
mod flame;
mod format;
mod health;
mod issue_state;
mod logs;
mod monitors;
pub(crate) mod problem;
mod profiles;
mod scorecard;
mod waterfall;

use askama::Template;
use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use chassis::{http::Path, problem::Problem};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use uuid::Uuid;

use crate::{
    protocol::{
        digest,
        event::{ErrorEvent, Frame, Stacktrace},
        trace::Trace,
    },
    query::{
        crash_facts::CrashFacts,
        flags::{self, StoredChange},
        issues::{self, Issue, IssueDetail},
        lines::stream,
        params::UrlQuery,
        shown_stack::address_of_unnamed,
        state::{ListParams, Query, page, run_query, with_lag},
        traces::{self, Summary},
    },
};
use format::{Service, clock, duration_ms};
use issue_state::{ActivityLine, words};
use waterfall::{Row, Waterfall};

/// Number of traces and of issues on the first page.
const LISTED: u32 = 60;
/// Approximate memory limit of the trace on a page. The JSON query has a higher one.
const TRACE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Content type of a page.
const HTML: &str = "text/html; charset=utf-8";
/// Content security policy: styles inside the page, and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Returns the routes of the pages.
pub fn router() -> Router<Query> {
    Router::new()
        .route("/", get(recent))
        .route("/traces/{trace_id}", get(trace))
        .route("/issues", get(|| async { Redirect::to("/#issues") }))
        .route("/issues/{issue_id}", get(issue))
        .route("/feedback", get(feedback::page))
        .route("/logs", get(logs::page))
        .route("/profiles", get(profiles::page))
        .route("/flame", get(flame::page))
        .route("/flame.svg", get(flame::svg))
        .route("/alerts", get(alerts::page))
        .route("/alerts/{id}", get(alerts::one))
        .route("/monitors", get(monitors::page))
        .route("/releases", get(health::page))
        .route("/scorecard", get(scorecard::page))
        .route("/dashboards/queues", get(dashboards::queues_page))
        .route("/dashboards/queries", get(dashboards::queries_page))
        .route("/dashboards/caches", get(dashboards::caches_page))
        .route("/dashboards/runtime", get(dashboards::runtime::page))
}

fn render(page: &impl Template) -> Response {
    match page.render() {
        Ok(html) => {
            let mut response = html.into_response();
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(HTML));
            set_security_headers(response.headers_mut());
            response
        }
        Err(error) => {
            tracing::error!(error = %error, "a page could not be rendered");
            Problem::internal().into_response()
        }
    }
}

fn set_security_headers(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

struct TraceLine {
    at: String,
    trace_id: String,
    root: String,
    root_service: Service,
    services: Vec<Service>,
    spans: u64,
    errors: u64,
    failed: u64,
    duration: String,
    /// Share of the longest trace in the list, in percent.
    share: f64,
}

struct IssueLine {
    issue: Issue,
    service: Service,
    state: String,
    first: String,
    last: String,
}

#[derive(Template)]
#[template(path = "recent.html")]
struct Recent {
    services: Vec<Service>,
    selected: String,
    traces: Vec<TraceLine>,
    issues: Vec<IssueLine>,
    /// Number of issues whose events were not read, because the page reached its limit of bytes.
    issues_unread: usize,
}

async fn recent(
    State(query): State<Query>,
    UrlQuery(params): UrlQuery<ListParams>,
) -> Result<Response, Problem> {
    let page = page(&query, &params, LISTED)?;
    let ((summaries, found), lag) =
        run_query(&query, move |query| Ok((traces::recent(query, page)?, issues::recent(query, page)?)))
            .await?;
    let service = |name: &str| Service::new(&query.projects, name);
    let longest_ms = summaries.iter().map(|summary| summary.duration_ms).fold(f64::MIN_POSITIVE, f64::max);
    let mut known: Vec<_> = query.projects.all().collect();
    known.sort_by_key(|project| project.id);
    let html = render(&Recent {
        services: known.into_iter().map(|project| service(&project.name)).collect(),
        selected: params.project().unwrap_or_default().to_owned(),
        traces: summaries.into_iter().map(|summary| trace_line(&query, summary, longest_ms)).collect(),
        issues_unread: found.iter().filter(|issue| issue.truncated).count(),
        issues: found
            .into_iter()
            .map(|issue| IssueLine {
                service: service(&issue.project),
                state: words(&issue.state),
                first: clock(issue.first_seen),
                last: clock(issue.last_seen),
                issue,
            })
            .collect(),
    });
    Ok(with_lag(lag, html))
}

fn trace_line(query: &Query, summary: Summary, longest_ms: f64) -> TraceLine {
    TraceLine {
        at: clock(summary.start),
        root_service: Service::new(&query.projects, &summary.root_project),
        services: summary.services.iter().map(|name| Service::new(&query.projects, name)).collect(),
        duration: duration_ms(summary.duration_ms),
        share: (summary.duration_ms / longest_ms * 100.0).clamp(0.5, 100.0),
        trace_id: summary.trace_id,
        root: summary.root,
        spans: summary.spans,
        errors: summary.errors,
        failed: summary.failed,
    }
}

#[derive(Template)]
#[template(path = "trace.html")]
struct TracePage {
    trace: Trace,
    title: String,
    at: String,
    waterfall: Waterfall,
}

async fn trace(State(query): State<Query>, Path(trace_id): Path<String>) -> Result<Response, Problem> {
    let Some(id) = digest::trace_id(&trace_id) else {
        return Ok(not_found("A trace id is 32 hexadecimal digits."));
    };
    let (is_known, lag) = traces::is_known(&query, id).await?;
    if !is_known {
        return Ok(with_lag(lag, not_found("No stored envelope contains a part of this trace.")));
    }
    // Streamed, like every response that may be large.
    let mut response = stream(&query, HTML, move |query, out| {
        let Some(trace) = traces::assemble(query, id, TRACE_BYTES_MAX)? else { return Ok(()) };
        TracePage::new(trace, query).write_into(out)?;
        Ok(())
    })
    .await?;
    set_security_headers(response.headers_mut());
    Ok(response)
}

impl TracePage {
    fn new(trace: Trace, query: &Query) -> Self {
        let waterfall = Waterfall::new(&trace, &query.projects);
        let root = trace.spans.iter().find(|span| span.parent_span_id.is_none()).or(trace.spans.first());
        let title =
            root.map(|span| format!("{} {}", span.op, span.description.as_deref().unwrap_or_default()));
        Self {
            title: title.unwrap_or_else(|| "A trace without spans".to_owned()),
            at: clock(waterfall.begin),
            waterfall,
            trace,
        }
    }
}

struct FrameLine {
    function: String,
    place: String,
    in_app: bool,
}

impl From<&Frame> for FrameLine {
    fn from(frame: &Frame) -> Self {
        let file = frame.filename.as_deref().or(frame.module.as_deref()).unwrap_or_default();
        let line = frame.lineno.map(|line| format!(":{line}")).unwrap_or_default();
        let inlined = if frame.added.inlined { " (inlined)" } else { "" };
        let scanned = if frame.is_scanned { " (found by scanning)" } else { "" };
        let unnamed = || address_of_unnamed(frame).map_or_else(|| "?".to_owned(), |at| format!("? at {at}"));
        Self {
            function: frame.function.clone().unwrap_or_else(unnamed),
            place: format!("{file}{line}{inlined}{scanned}"),
            in_app: frame.in_app == Some(true),
        }
    }
}

struct ExceptionLine {
    class: String,
    value: String,
    /// Frames, innermost first, as people read them.
    frames: Vec<FrameLine>,
}

/// Returns the exceptions of an event, outermost first, then the stack of its thread if it has one.
fn stacks(event: &ErrorEvent) -> Vec<ExceptionLine> {
    let frames = |stack: &Stacktrace| stack.frames.iter().rev().map(FrameLine::from).collect::<Vec<_>>();
    let mut lines: Vec<_> = event
        .exceptions
        .iter()
        .rev()
        .map(|exception| ExceptionLine {
            class: exception.class.clone().unwrap_or_default(),
            value: exception.value.clone().unwrap_or_default(),
            frames: frames(&exception.stacktrace),
        })
        .collect();
    if !event.stacktrace.frames.is_empty() {
        lines.push(ExceptionLine {
            class: "Stack".to_owned(),
            value: event.message_text().unwrap_or_default().to_owned(),
            frames: frames(&event.stacktrace),
        });
    }
    lines
}

#[derive(Template)]
#[template(path = "issue.html")]
struct IssuePage {
    detail: IssueDetail,
    service: Service,
    state: String,
    /// Newest first.
    activity: Vec<ActivityLine>,
    first: String,
    last: String,
    exceptions: Vec<ExceptionLine>,
    times: Vec<String>,
    changes: Vec<ChangeLine>,
    /// Feature flags that were on at the newest event.
    flags_on: Vec<String>,
    /// Facts of the newest event, if it is about a native crash.
    crash: Option<String>,
    minidump_seq: Option<u64>,
}

/// A change of a flag shortly before the issue's first event.
struct ChangeLine {
    at: String,
    before: String,
    change: StoredChange,
}

async fn issue(State(query): State<Query>, Path(id): Path<Uuid>) -> Result<Response, Problem> {
    let (found, lag) = run_query(&query, move |query| {
        let Some(detail) = issues::detail(query, id)? else { return Ok(None) };
        let changes = flags::just_before(query, detail.issue.first_seen)?;
        Ok(Some((detail, changes)))
    })
    .await?;
    let Some((detail, changes)) = found else {
        return Ok(with_lag(lag, not_found("No stored event belongs to this issue.")));
    };
    let line = |change: StoredChange| ChangeLine {
        at: clock(change.at),
        before: duration_ms((detail.issue.first_seen - change.at) * 1000.0),
        change,
    };
    let changes = changes.into_iter().map(line).collect();
    let exceptions = detail.events.first().map(|event| stacks(&event.event)).unwrap_or_default();
    let flags_on = detail.events.first().map(|event| event.event.flags_on.clone()).unwrap_or_default();
    let crash = detail.events.first().and_then(|event| event.crash.as_ref());
    let html = render(&IssuePage {
        service: Service::new(&query.projects, &detail.issue.project),
        state: words(&detail.issue.state),
        activity: detail.activity.iter().rev().map(ActivityLine::from).collect(),
        first: clock(detail.issue.first_seen),
        last: clock(detail.issue.last_seen),
        times: detail.events.iter().map(|event| clock(event.error.timestamp)).collect(),
        exceptions,
        changes,
        flags_on,
        crash: crash.map(CrashFacts::sentence),
        minidump_seq: crash.and_then(|crash| crash.envelope_seq),
        detail,
    });
    Ok(with_lag(lag, html))
}

#[derive(Template)]
#[template(path = "not_found.html")]
struct NotFoundPage {
    message: &'static str,
}

fn not_found(message: &'static str) -> Response {
    let mut response = render(&NotFoundPage { message });
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::test_query;

    #[tokio::test]
    async fn pages_report_the_index_lag() {
        let directory = tempfile::tempdir().expect("a folder");
        let (query, threads) = test_query::open(directory.path());
        let query = test_query::with_stopped_index(query);
        test_query::store(&query).await;
        let params = UrlQuery(ListParams::default());
        let responses = [
            recent(State(query.clone()), params).await,
            trace(State(query.clone()), Path("ab".repeat(16))).await,
            issue(State(query.clone()), Path(Uuid::nil())).await,
        ];
        for response in responses {
            assert_eq!(response.expect("a page").headers()["x-recorder-index-lag"], "1");
        }
        test_query::close(&query, threads).await;
    }
}
