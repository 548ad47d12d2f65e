//! Queries for issues and releases. Issues and sessions are counted from rows. Other numbers of releases are counters of each segment.

use std::collections::HashSet;

use axum::{Json, extract::State, response::Response};
use chassis::{http::Path, problem::Problem};
use serde::Serialize;
use uuid::Uuid;

use super::{
    attachments::{Attachment, attachments},
    crash_facts::CrashFacts,
    issue_states::{IssueState, state_now},
    lines::{NDJSON, WriteError, stream, with_envelope, write_line},
    params::UrlQuery,
    read_limit::ReadLimit,
    shown_stack::ShownStack,
    state::{ListParams, Query, page, run_query, with_lag},
};
use crate::{
    domain::{self, Activity, Outlook, outlook},
    index::{
        IndexError,
        read::{self, IssueRow, ReleaseRecord},
        read_issues::{self, KnownIssue},
    },
    protocol::{
        assembly::trace_error,
        envelope::Item,
        event::{ErrorEvent, Stacktrace},
        grouping,
        minidump::has_minidump,
        seconds,
        trace::TraceError,
    },
    symbols::stack,
};

/// Largest number of issues in a listing.
const ISSUES_MAX: u32 = 1_000;
/// Largest number of releases of which an issue tells what an event would mean.
const OUTLOOK_MAX: usize = 20;
/// Largest number of envelopes whose events one issue shows.
const EVENTS_SHOWN: u32 = 20;

/// An issue in a listing.
#[derive(Debug, Serialize)]
pub(crate) struct Issue {
    pub(crate) seq: u64,
    pub(crate) id: String,
    pub(crate) project: String,
    #[serde(flatten)]
    pub(crate) state: IssueState,
    pub(crate) title: String,
    #[serde(rename = "type")]
    pub(crate) class: Option<String>,
    pub(crate) value: Option<String>,
    pub(crate) culprit: Option<String>,
    pub(crate) level: Option<String>,
    pub(crate) count: u64,
    pub(crate) count_since: u64,
    pub(crate) first_seen: f64,
    pub(crate) last_seen: f64,
    pub(crate) releases: Vec<String>,
    pub(crate) users: u64,
    pub(crate) fingerprint: Vec<String>,
    pub(crate) last_event_id: Option<String>,
    pub(crate) last_trace_id: Option<String>,
    /// True when the response reached its limit of bytes. Then facts of events that were not read are missing.
    pub(crate) truncated: bool,
}

/// An issue with its last events.
#[derive(Debug, Serialize)]
pub(crate) struct IssueDetail {
    #[serde(flatten)]
    pub(crate) issue: Issue,
    /// What happened to it and why, oldest first.
    pub(crate) activity: Vec<Activity>,
    /// Of a resolved issue: what an event of each of the newest releases would mean.
    pub(crate) outlook: Vec<Outlook>,
    pub(crate) events: Vec<IssueEvent>,
    /// Number of envelopes with events that were not read, because the response reached its limit of bytes.
    pub(crate) envelopes_left_out: u64,
}

/// Events of one issue, newest first.
#[derive(Debug, Default)]
struct Events {
    read: Vec<IssueEvent>,
    envelopes_left_out: u64,
}

/// One event of an issue.
#[derive(Debug, Serialize)]
pub(crate) struct IssueEvent {
    #[serde(flatten)]
    pub(crate) error: TraceError,
    pub(crate) trace_id: Option<String>,
    pub(crate) environment: Option<String>,
    pub(crate) user: Option<String>,
    /// Of the first event of an envelope, as an SDK sends one in each. Those of a native crash came with its minidump.
    pub(crate) attachments: Vec<Attachment>,
    /// Frames of the main stack, the outermost first. Only of the newest event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stack: Option<ShownStack>,
    /// What the minidump of a native crash says besides the stack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) crash: Option<CrashFacts>,
    #[serde(skip)]
    pub(crate) event: ErrorEvent,
}

/// `GET /api/v1/issues?since=&project=&limit=`: issues with an event after `since`, most recent first.
pub(super) async fn list(
    State(query): State<Query>,
    UrlQuery(params): UrlQuery<ListParams>,
) -> Result<Response, Problem> {
    let page = page(&query, &params, ISSUES_MAX)?;
    stream(&query, NDJSON, move |query, out| {
        for issue in recent(query, page)? {
            write_line(out, &issue)?;
        }
        Ok(())
    })
    .await
}

/// `GET /api/v1/issues/{issue_id}`
pub(super) async fn one(State(query): State<Query>, Path(id): Path<Uuid>) -> Result<Response, Problem> {
    let (detail, lag) = run_query(&query, move |query| detail(query, id)).await?;
    Ok(with_lag(lag, Json(detail.ok_or_else(Problem::not_found)?)))
}

/// Returns the issues of a page.
pub(crate) fn recent(query: &Query, page: crate::index::Page) -> Result<Vec<Issue>, WriteError> {
    let page = crate::index::Page { limit: page.limit.min(ISSUES_MAX), ..page };
    let rows = query.index.read(|connection| read::issues(connection, page))?;
    let mut limit = ReadLimit::default();
    rows.into_iter()
        .map(|row| {
            let events = events(query, row.issue, 1, &mut limit)?;
            let state = state_now(query, &row)?.state;
            Ok(issue(query, row, &state, &events))
        })
        .collect()
}

/// Returns one issue with its last events, newest first.
pub(crate) fn detail(query: &Query, id: Uuid) -> Result<Option<IssueDetail>, IndexError> {
    let Some(row) = query.index.read(|connection| read::issue(connection, id))? else { return Ok(None) };
    let mut limit = ReadLimit::default();
    let mut events = events(query, id, EVENTS_SHOWN, &mut limit)?;
    add_files_of_crashes(query, row.project, &mut events.read, &mut limit)?;
    let KnownIssue { project, state, activity } = state_now(query, &row)?;
    let releases = query.index.read(|connection| read_issues::releases(connection, project))?;
    let issue = issue(query, row, &state, &events);
    let outlook = outlook(&state, &releases, OUTLOOK_MAX);
    let Events { read: mut events, envelopes_left_out } = events;
    if let Some(newest) = events.first_mut() {
        stack::resolve(&query.symbols, &mut newest.event);
        newest.stack = ShownStack::of(newest.event.main_stack());
    }
    Ok(Some(IssueDetail { issue, activity, outlook, events, envelopes_left_out }))
}

/// Reads the events of the newest envelopes of an issue, up to the limit. An event that was sent again is there once.
fn events(query: &Query, id: Uuid, envelopes_max: u32, limit: &mut ReadLimit) -> Result<Events, WriteError> {
    let rows = query.index.read(|connection| read::issue_envelopes(connection, id, envelopes_max))?;
    let mut reader = query.journal.reader();
    let mut events = Events::default();
    let mut known: HashSet<String> = HashSet::new();
    for row in rows {
        if limit.is_reached() {
            events.envelopes_left_out += 1;
            continue;
        }
        let mut ids: HashSet<String> = HashSet::new();
        with_envelope(query, &mut reader, row, |opened| {
            limit.count(&opened);
            let mut attached = attachments(opened.envelope);
            let items = opened.envelope.items.iter().filter(|item| item.item_type() == "event");
            for json in items.filter_map(Item::json) {
                let mut event = ErrorEvent::parse(json);
                if event.is_feedback() || grouping::issue_id(opened.source.project, &event) != id {
                    continue;
                }
                let error = trace_error(opened.source, opened.envelope, &event);
                // Sent again in another envelope, or in the same one.
                let is_known = |event_id: &String| known.contains(event_id) || !ids.insert(event_id.clone());
                if error.event_id.as_ref().is_some_and(is_known) {
                    continue;
                }
                if !events.read.is_empty() {
                    // Only the newest event's stacks are shown. The stacks of twenty events would be megabytes.
                    event.exceptions = Vec::new();
                    event.stacktrace = Stacktrace::default();
                }
                events.read.push(IssueEvent {
                    error,
                    trace_id: event.trace_id.clone(),
                    environment: event.environment.clone(),
                    user: event.user.clone(),
                    attachments: std::mem::take(&mut attached),
                    stack: None,
                    crash: CrashFacts::of(json, &event),
                    event,
                });
            }
            Ok(())
        })?;
        known.extend(ids);
    }
    Ok(events)
}

/// Adds the attachments of native crashes. They are in the envelope with the minidump, of which the event was made.
fn add_files_of_crashes(
    query: &Query,
    project: u32,
    events: &mut [IssueEvent],
    limit: &mut ReadLimit,
) -> Result<(), WriteError> {
    let mut reader = query.journal.reader();
    for event in events {
        let Some(seq) = event.crash.as_ref().and_then(|crash| crash.envelope_seq) else { continue };
        if limit.is_reached() {
            break;
        }
        let Some(row) = query.index.read(|connection| read::envelope(connection, seq))? else { continue };
        let files = with_envelope(query, &mut reader, row, |opened| {
            limit.count(&opened);
            // A sender can write the number, too
            let is_of_crash = opened.source.project == project && has_minidump(opened.envelope);
            Ok(if is_of_crash { attachments(opened.envelope) } else { Vec::new() })
        })?;
        event.attachments.extend(files.unwrap_or_default());
    }
    Ok(())
}

fn issue(query: &Query, row: IssueRow, state: &domain::State, events: &Events) -> Issue {
    let IssueRow { issue, project, count, count_since, first_seen, last_seen, last_seq, users, releases } =
        row;
    let last = events.read.first();
    let error = last.map(|last| &last.error);
    Issue {
        seq: last_seq,
        id: issue.simple().to_string(),
        project: query.projects.name(project),
        state: IssueState::of(state),
        title: error.map(|error| error.title.clone()).unwrap_or_default(),
        class: error.and_then(|error| error.class.clone()),
        value: error.and_then(|error| error.value.clone()),
        culprit: error.and_then(|error| error.culprit.clone()),
        level: error.and_then(|error| error.level.clone()),
        count,
        count_since,
        first_seen,
        last_seen,
        releases,
        users,
        fingerprint: last.map(|last| last.event.fingerprint.clone()).unwrap_or_default(),
        last_event_id: error.and_then(|error| error.event_id.clone()),
        last_trace_id: last.and_then(|last| last.trace_id.clone()),
        truncated: events.envelopes_left_out > 0,
    }
}

#[derive(Debug, Serialize)]
struct Release {
    seq: u64,
    project: String,
    release: String,
    environment: String,
    first_seen: f64,
    last_seen: f64,
    transactions: u64,
    errors: u64,
    /// Distinct sessions and sums. Sentry counts only sessions whose beginning it received. These are all that are stored.
    sessions: u64,
    sessions_crashed: u64,
    sessions_abnormal: u64,
    sessions_unhandled: u64,
    sessions_errored: u64,
    /// Share of sessions that did not crash. Absent without sessions, as in Sentry.
    crash_free_sessions: Option<f64>,
    users: u64,
    users_crashed: u64,
    /// Share of users without a crashed session. Absent when no session names a user.
    crash_free_users: Option<f64>,
}

/// `GET /api/v1/releases?since=&project=&limit=`
pub(super) async fn releases(
    State(query): State<Query>,
    UrlQuery(params): UrlQuery<ListParams>,
) -> Result<Response, Problem> {
    let page = page(&query, &params, 10_000)?;
    stream(&query, NDJSON, move |query, out| {
        for record in query.index.read(|connection| read::releases(connection, page))? {
            write_line(out, &release(query, record))?;
        }
        Ok(())
    })
    .await
}

fn release(query: &Query, record: ReleaseRecord) -> Release {
    let sessions = record.sessions;
    Release {
        seq: record.last_seq,
        project: query.projects.name(record.project),
        release: record.release,
        environment: record.environment,
        first_seen: seconds(record.first_us),
        last_seen: seconds(record.last_us),
        transactions: record.transactions,
        errors: record.errors,
        sessions: sessions.total,
        sessions_crashed: sessions.crashed,
        sessions_abnormal: sessions.abnormal,
        sessions_unhandled: sessions.unhandled,
        sessions_errored: sessions.errored,
        crash_free_sessions: crash_free(sessions.crashed, sessions.total),
        users: sessions.users,
        users_crashed: sessions.users_crashed,
        crash_free_users: crash_free(sessions.users_crashed, sessions.users),
    }
}

fn crash_free(crashed: u64, total: u64) -> Option<f64> {
    (total > 0).then(|| 1.0 - crashed as f64 / total as f64)
}
