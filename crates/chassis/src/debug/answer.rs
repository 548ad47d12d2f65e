//! The request for a debug fault and its answers.

use std::error::Error;

use axum::{
    extract::{FromRequest, Request},
    response::{IntoResponse, Response},
};
use contracts::{DebugFault, Part};
use http::{StatusCode, header::CONTENT_TYPE};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{http::Json, problem::Problem};

/// Longest id of a player, in bytes.
const PLAYER_BYTES_MAX: usize = 128;

/// Options of a debug fault. Everything has a default, and the body may be missing.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DebugBody {
    /// Id of the player that the event names as its user, up to 128 visible ASCII characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub player_id: Option<String>,
    /// For `memory-leak`: frees what it leaked so far, and leaks nothing.
    #[serde(default)]
    pub release: bool,
}

impl DebugBody {
    fn check(self) -> Result<Self, Problem> {
        let is_valid = |id: &str| {
            (1..=PLAYER_BYTES_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if self.player_id.as_deref().is_none_or(is_valid) {
            return Ok(self);
        }
        Err(Problem::invalid_body("`player_id` must be 1 to 128 visible ASCII characters"))
    }
}

impl<S: Send + Sync> FromRequest<S> for DebugBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !request.headers().contains_key(CONTENT_TYPE) {
            return Ok(Self::default());
        }
        let Json(body) = Json::<Self>::from_request(request, state).await?;
        body.check()
    }
}

/// The effect of a fault after which the request continues.
#[derive(Debug)]
pub(super) struct Outcome {
    /// What happened, as a sentence without its end.
    pub(super) detail: String,
    /// Sentry's id of its event, if it is known.
    pub(super) event_id: Option<String>,
}

/// Answer of a debug fault after which the request continues. All others are answered with a problem.
#[derive(Debug, Serialize, ToSchema)]
pub struct DebugReport {
    service: String,
    fault: String,
    /// What happened.
    detail: String,
    /// Trace of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    /// Id of the Sentry event. It is missing if there is none, or if another task sends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    sentry_event_id: Option<String>,
}

impl DebugReport {
    pub(super) fn answer(
        service: Part,
        fault: DebugFault,
        detail: String,
        sentry_event_id: Option<String>,
    ) -> Response {
        let (service, fault_name) = (service.as_str().to_owned(), fault.as_str().to_owned());
        let trace_id = telemetry::trace_id();
        let report = Self { service, fault: fault_name, detail, trace_id, sentry_event_id };
        (status_of(fault), Json(report)).into_response()
    }
}

/// The problem of a fault whose event was sent. (What reports the event is the code that had the error, because the innermost frame
/// of ours gets the line of the report.)
pub(super) fn problem(fault: DebugFault, error: &dyn Error, event_id: Option<String>) -> Problem {
    Problem::new(status_of(fault), "debug-fault", "A debug fault failed on purpose")
        .detail(error.to_string())
        .sentry_event(event_id)
}

/// The status in the list of faults.
fn status_of(fault: DebugFault) -> StatusCode {
    StatusCode::from_u16(fault.definition().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
