//! Queries for recent traces and for one whole trace.

use std::sync::PoisonError;

use axum::{extract::State, response::Response};
use chassis::{http::Path, problem::Problem};
use serde::Serialize;

use super::{
    lines::{NDJSON, WriteError, stream, with_envelope, write_line},
    params::UrlQuery,
    read_limit::ReadLimit,
    state::{ListParams, Query, page, run_query, with_lag},
};
use crate::{
    index::{
        Page,
        read::{self, TraceRow},
    },
    protocol::{assembly::Assembly, digest, trace::Trace},
};

/// Default number of traces in a listing.
const TRACES_LISTED: u32 = 100;
/// Largest number of traces in a listing.
const TRACES_MAX: u32 = 5_000;
/// Largest number of envelopes that are read for one trace.
const ENVELOPES_MAX: u32 = 5_000;
/// Approximate memory limit of one trace.
const TRACE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A trace in a listing.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) seq: u64,
    pub(crate) trace_id: String,
    pub(crate) root: String,
    pub(crate) root_project: String,
    pub(crate) services: Vec<String>,
    pub(crate) spans: u64,
    pub(crate) errors: u64,
    pub(crate) failed: u64,
    pub(crate) start: f64,
    pub(crate) end: f64,
    pub(crate) duration_ms: f64,
}

impl Summary {
    pub(crate) fn new(query: &Query, row: TraceRow) -> Self {
        let TraceRow { trace_id, last_seq, root, root_project, start, end, spans, errors, failed, projects } =
            row;
        Self {
            seq: last_seq,
            trace_id: hex::encode(trace_id),
            root,
            root_project: query.projects.name(root_project),
            services: projects.into_iter().map(|project| query.projects.name(project)).collect(),
            spans,
            errors,
            failed,
            start,
            end,
            duration_ms: (end - start) * 1000.0,
        }
    }
}

/// `GET /api/v1/traces?since=&project=&limit=`: traces with any span, newest first.
pub(super) async fn list(
    State(query): State<Query>,
    UrlQuery(params): UrlQuery<ListParams>,
) -> Result<Response, Problem> {
    let page = page(&query, &params, TRACES_LISTED)?;
    stream(&query, NDJSON, move |query, out| {
        for summary in recent(query, page)? {
            write_line(out, &summary)?;
        }
        Ok(())
    })
    .await
}

/// Returns the recent traces.
pub(crate) fn recent(query: &Query, page: Page) -> Result<Vec<Summary>, crate::index::IndexError> {
    let page = Page { limit: page.limit.min(TRACES_MAX), ..page };
    let rows = query.index.read(|connection| read::traces(connection, page))?;
    Ok(rows.into_iter().map(|row| Summary::new(query, row)).collect())
}

/// `GET /api/v1/traces/{trace_id}`
pub(super) async fn one(
    State(query): State<Query>,
    Path(trace_id): Path<String>,
) -> Result<Response, Problem> {
    let trace_id = digest::trace_id(&trace_id)
        .ok_or_else(|| Problem::bad_request("a trace id is 32 hexadecimal digits"))?;
    let (is_known, lag) = is_known(&query, trace_id).await?;
    if !is_known {
        let problem = Problem::not_found().detail("no stored envelope contains a part of this trace");
        return Ok(with_lag(lag, problem));
    }
    stream(&query, "application/json", move |query, out| {
        let trace = assemble(query, trace_id, TRACE_BYTES_MAX)?;
        serde_json::to_writer(&mut *out, &trace)?;
        Ok(())
    })
    .await
}

/// Returns true when any part of a trace is stored. Checked first, because a stream cannot change its status later.
///
/// Also returns the number of envelopes that the index lacks.
pub(crate) async fn is_known(query: &Query, trace_id: [u8; 16]) -> Result<(bool, u64), Problem> {
    let read =
        move |query: &Query| query.index.read(|connection| read::trace_envelopes(connection, trace_id, 1));
    let (rows, lag) = run_query(query, read).await?;
    Ok((!rows.is_empty(), lag))
}

/// Reads a trace's envelopes and assembles the trace in about this many bytes of memory.
pub(crate) fn assemble(
    query: &Query,
    trace_id: [u8; 16],
    bytes_max: usize,
) -> Result<Option<Trace>, WriteError> {
    let one_at_a_time = query.assembling.lock().unwrap_or_else(PoisonError::into_inner);
    let rows = query.index.read(|connection| read::trace_envelopes(connection, trace_id, ENVELOPES_MAX))?;
    let stored = query.index.read(|connection| read::count_trace_envelopes(connection, trace_id))?;
    let mut reader = query.journal.reader();
    let mut assembly = Assembly::new(trace_id, bytes_max);
    let (mut read, mut limit) = (0, ReadLimit::default());
    for row in rows {
        if limit.is_reached() {
            break;
        }
        with_envelope(query, &mut reader, row, |opened| {
            limit.count(&opened);
            assembly.add(opened.source, opened.envelope);
            Ok(())
        })?;
        read += 1;
    }
    assembly.count_left_out_envelopes(stored.saturating_sub(read));
    drop(one_at_a_time);
    Ok(assembly.finish())
}
