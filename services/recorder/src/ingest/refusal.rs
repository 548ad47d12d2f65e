//! Error responses in Sentry's form.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::{body::BodyError, journal::JournalError, protocol::check_in::CheckInError};

/// Reason why an envelope was not stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The path does not exist.
    #[error("no such endpoint")]
    NoSuchEndpoint,
    /// The request has no key.
    #[error("missing authorization information")]
    MissingKey,
    /// The key belongs to no project.
    #[error("event submission rejected with_reason: ProjectNotFound")]
    UnknownKey,
    /// The key belongs to a project other than the path's.
    #[error("event submission rejected with_reason: ProjectId")]
    OtherProject,
    /// The path does not name a project.
    #[error("invalid project path parameter")]
    BadProject,
    /// The envelope's own DSN is invalid or contradicts the key.
    #[error("bad request: the envelope's dsn does not match the key")]
    OtherDsn,
    /// The content encoding is not supported.
    #[error("unsupported content encoding")]
    Encoding,
    /// The content type is none of those that the endpoint reads.
    #[error("unsupported content type: send {0}")]
    MediaType(&'static str),
    /// The request is not a check-in.
    #[error(transparent)]
    CheckIn(CheckInError),
    /// The report of a browser is not JSON.
    #[error("bad request: the report is not JSON: {0}")]
    Report(String),
    /// A list of reports is empty or too long.
    #[error("bad request: the list has {count} reports, and may have 1 to {max}")]
    ReportCount { count: usize, max: usize },
    /// The request has no minidump, or is not in the form of one.
    #[error("bad request: {0}")]
    Minidump(&'static str),
    /// The received body exceeds the limit before decompression.
    #[error("payload too large: the limit is {0} bytes")]
    TooLarge(usize),
    /// Reading the body failed.
    #[error("failed to read the request body: {0}")]
    Unreadable(String),
    /// The body arrived more slowly than the minimum rate.
    #[error("the request body arrived too slowly")]
    TooSlow,
    /// No permit for the body became free, or the spool is full.
    #[error("too many envelopes are in progress, retry later")]
    Busy,
    /// The body's file in the spool failed.
    #[error("the request body could not be written to a temporary file, retry later")]
    Spool,
    /// The body cannot be opened.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The journal could not store the envelope.
    #[error("the envelope could not be stored, retry later")]
    Journal(#[from] JournalError),
    /// A worker thread failed.
    #[error("the envelope could not be read because a worker failed, retry later")]
    Worker,
}

impl Refusal {
    /// Returns the status that Sentry uses in this case.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NoSuchEndpoint => StatusCode::NOT_FOUND,
            Self::MissingKey => StatusCode::UNAUTHORIZED,
            Self::UnknownKey | Self::OtherProject => StatusCode::FORBIDDEN,
            Self::Encoding | Self::MediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(error) if error.is_too_large() => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BadProject
            | Self::OtherDsn
            | Self::Unreadable(_)
            | Self::CheckIn(_)
            | Self::Report(_)
            | Self::Minidump(_)
            | Self::ReportCount { .. }
            | Self::Body(_) => StatusCode::BAD_REQUEST,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Journal(_) | Self::Worker | Self::Busy | Self::Spool => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

#[derive(Serialize)]
struct Detail {
    detail: String,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status();
        let detail = self.to_string();
        let error = HeaderValue::from_str(&detail).ok();
        let mut response = (status, Json(Detail { detail })).into_response();
        if let Some(error) = error {
            response.headers_mut().insert("x-sentry-error", error);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// Response for a stored envelope.
#[derive(Debug, Serialize)]
pub(crate) struct Accepted {
    /// Event id, sent or generated. Absent when the envelope has no event, as with a real Sentry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
}
