//! Sentry's way of saying no.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::{body::BodyError, journal::JournalError};

/// Why an envelope was not kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// No such path.
    #[error("no such endpoint")]
    NoSuchEndpoint,
    /// No key anywhere.
    #[error("missing authorization information")]
    MissingKey,
    /// A key that no project has.
    #[error("event submission rejected with_reason: ProjectNotFound")]
    UnknownKey,
    /// A key of another project than the path's.
    #[error("event submission rejected with_reason: ProjectId")]
    OtherProject,
    /// The path names no project.
    #[error("invalid project path parameter")]
    BadProject,
    /// The envelope's own DSN contradicts the key.
    #[error("bad request: the envelope's dsn is not that of the key")]
    OtherDsn,
    /// An encoding that nobody here reads.
    #[error("unsupported content encoding")]
    Encoding,
    /// The body is larger than the limit, as it came.
    #[error("payload too large: the limit is {0} bytes")]
    TooLarge(usize),
    /// The body broke off.
    #[error("failed to read the request body: {0}")]
    Unreadable(String),
    /// The body did not arrive at the least pace.
    #[error("the request body arrived too slowly")]
    TooSlow,
    /// There is no place for it.
    #[error("too many envelopes are being worked on")]
    Busy,
    /// The body could not be held until it was complete.
    #[error("the request body could not be held")]
    Spool,
    /// The body cannot be opened.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The disk said no.
    #[error("the envelope could not be kept")]
    Journal(#[from] JournalError),
    /// A worker thread is gone.
    #[error("the envelope could not be read")]
    Worker,
}

impl Refusal {
    /// The status that Sentry answers in this case.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NoSuchEndpoint => StatusCode::NOT_FOUND,
            Self::MissingKey => StatusCode::UNAUTHORIZED,
            Self::UnknownKey | Self::OtherProject => StatusCode::FORBIDDEN,
            Self::Encoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(error) if error.is_too_large() => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BadProject | Self::OtherDsn | Self::Unreadable(_) | Self::Body(_) => {
                StatusCode::BAD_REQUEST
            }
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

/// What was kept.
#[derive(Debug, Serialize)]
pub(crate) struct Kept {
    /// The event's id, the sender's or the one that it was given; absent where there is no event, as with a real Sentry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
}
