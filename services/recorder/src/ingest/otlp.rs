//! Exports of OpenTelemetry, at the paths where Sentry takes them.
//!
//! The bytes are stored as received. Queries see the spans or logs that Sentry makes of them. The response is that of OTLP, the
//! refusals are Sentry's.

use axum::{
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, header};

use super::{
    Ingest,
    receive::{receive_as, with_seq},
    refusal::Refusal,
};
use crate::journal::BodyKind;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// `POST /api/{project}/integration/otlp/v1/traces`
pub(super) async fn traces(
    State(ingest): State<Ingest>,
    Path(project): Path<String>,
    request: Request,
) -> Response {
    export(&ingest, &project, request, BodyKind::OtlpTraces, BodyKind::OtlpTracesJson).await
}

/// `POST /api/{project}/integration/otlp/v1/logs`
pub(super) async fn logs(
    State(ingest): State<Ingest>,
    Path(project): Path<String>,
    request: Request,
) -> Response {
    export(&ingest, &project, request, BodyKind::OtlpLogs, BodyKind::OtlpLogsJson).await
}

async fn export(
    ingest: &Ingest,
    project: &str,
    request: Request,
    protobuf: BodyKind,
    json: BodyKind,
) -> Response {
    let kind = match media_type(request.headers()).as_deref() {
        Some(PROTOBUF | "application/protobuf") => Ok(protobuf),
        Some(JSON) => Ok(json),
        _ => Err(Refusal::MediaType("application/x-protobuf or application/json")),
    };
    let is_json = matches!(&kind, Ok(kind) if *kind == json);
    // An export response without members: nothing in protobuf, an empty object in JSON.
    let (content_type, nothing) = if is_json { (JSON, "{}") } else { (PROTOBUF, "") };
    match receive_as(ingest, project, request, kind).await {
        Ok((_, seq)) => with_seq(seq, ([(header::CONTENT_TYPE, content_type)], nothing)),
        Err(refusal) => refusal.into_response(),
    }
}

/// Returns the content type in lower case without its parameters.
pub(super) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}
