//! Operator actions, and the status of the recorder.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use chassis::{http::RawBody, operator::OPERATOR_TOKEN_HEADER, problem::Problem};
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::state::Query;
use crate::{forward::ForwardState, ingest::Mode};

/// Answers 401 without the token and for a wrong one, as the gateway does.
pub(super) fn authorise(query: &Query, headers: &HeaderMap) -> Result<(), Problem> {
    if query.operator.is(headers) {
        return Ok(());
    }
    let detail = format!("send the operator's token in {OPERATOR_TOKEN_HEADER}: it is missing or wrong");
    Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "Only the operator may do this")
        .detail(detail))
}

/// `DELETE /api/v1/envelopes`: deletes everything. `seq` continues.
pub(super) async fn delete_all(State(query): State<Query>, headers: HeaderMap) -> Result<Response, Problem> {
    authorise(&query, &headers)?;
    let next_seq = query.journal.delete_all().await.map_err(|error| {
        tracing::error!(error = %error, "the envelopes could not be deleted");
        Problem::internal()
    })?;
    query.index.caught_up().await;
    tracing::info!(next_seq, "the operator deleted all envelopes");
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /api/v1/ingest/mode`
pub(super) async fn set_mode(
    State(query): State<Query>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result<Response, Problem> {
    authorise(&query, &headers)?;
    let mode: Mode =
        serde_json::from_slice(&body).map_err(|error| Problem::bad_request(error.to_string()))?;
    mode.check().map_err(Problem::bad_request)?;
    tracing::info!(mode = ?mode, "the operator changed the mode of ingest");
    query.mode.set(mode);
    Ok(mode_now(&query))
}

/// `GET /api/v1/ingest/mode`
pub(super) async fn mode(State(query): State<Query>) -> Response {
    mode_now(&query)
}

#[derive(Serialize)]
struct ModeNow {
    #[serde(flatten)]
    mode: Mode,
    left_ms: Option<u64>,
}

fn mode_now(query: &Query) -> Response {
    let (mode, left) = query.mode.get();
    let left_ms = left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
    Json(ModeNow { mode, left_ms }).into_response()
}

#[derive(Serialize)]
struct Status {
    /// Last stored `seq`.
    durable_seq: u64,
    /// Last `seq` that queries can see.
    indexed_seq: u64,
    /// First `seq` that is still stored.
    first_seq: u64,
    journal_bytes: u64,
    journal_failed: bool,
    answered_kept: u64,
    answered_refused: u64,
    answered_failed: u64,
    mode: Mode,
    forward: Vec<ForwardState>,
    /// Absent without a second witness.
    #[serde(skip_serializing_if = "Option::is_none")]
    second_witness: Option<ForwardState>,
}

/// `GET /api/v1/status`
pub(super) async fn status(State(query): State<Query>) -> Response {
    let journal = query.journal.progress().state();
    let [answered_kept, answered_refused, answered_failed] = query.answered.counts();
    let status = Status {
        durable_seq: journal.durable,
        indexed_seq: query.index.reached().indexed,
        first_seq: journal.floor,
        journal_bytes: journal.bytes,
        journal_failed: journal.failed,
        answered_kept,
        answered_refused,
        answered_failed,
        mode: query.mode.get().0,
        forward: query.forwarder.states(),
        second_witness: query.forwarder.witness_state(),
    };
    Json(status).into_response()
}
