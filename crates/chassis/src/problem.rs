//! HTTP errors as `application/problem+json` (RFC 9457), with a stable type, the trace id and, if an event was sent, the id of
//! the Sentry event.

use std::borrow::Cow;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value};
use telemetry::http::Unrecorded;
use utoipa::{PartialSchema, ToSchema, openapi};

/// An error answer in a form that programs can act on.
///
/// Programs decide by `type`, which never changes for the same reason. `title` belongs to the type, `detail` to the occurrence.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    slug: Cow<'static, str>,
    title: Cow<'static, str>,
    // Kept small, because a problem travels in the `Err` of every route.
    detail: Option<Box<str>>,
    sentry_event_id: Option<Box<str>>,
    more: Map<String, Value>,
    headers: Option<Box<HeaderMap>>,
    is_unrecorded: bool,
}

/// An error (RFC 9457). Some types have more members.
#[derive(Serialize, ToSchema)]
struct Body<'a> {
    /// Identifies the kind of error. It never changes for the same reason, so programs can decide by it.
    #[schema(example = "/problems/not-found")]
    r#type: String,
    /// Summary of the kind of error.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// Description of this occurrence.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    /// Trace of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    /// Id of the Sentry event with the details.
    #[serde(skip_serializing_if = "Option::is_none")]
    sentry_event_id: Option<&'a str>,
    #[schema(ignore)]
    #[serde(flatten)]
    more: &'a Map<String, Value>,
}

impl PartialSchema for Problem {
    fn schema() -> openapi::RefOr<openapi::Schema> {
        Body::<'static>::schema()
    }
}

impl ToSchema for Problem {}

impl Problem {
    /// Creates a problem of type `/problems/<slug>`.
    pub fn new(
        status: StatusCode,
        slug: impl Into<Cow<'static, str>>,
        title: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            slug: slug.into(),
            title: title.into(),
            detail: None,
            sentry_event_id: None,
            more: Map::new(),
            headers: None,
            is_unrecorded: false,
        }
    }

    /// Sets the description of this occurrence, for a person. It must not contain personal data.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into().into_boxed_str());
        self
    }

    /// Adds a member to the body.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a header to the answer, such as `retry-after`.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.headers.get_or_insert_default().append(name, value.into());
        self
    }

    /// Sets the id of the Sentry event with the details, as [`telemetry::report`] returned it.
    #[must_use]
    pub fn sentry_event(mut self, event_id: Option<String>) -> Self {
        self.sentry_event_id = event_id.map(String::into_boxed_str);
        self
    }

    /// Leaves the request without a transaction ([`Unrecorded`]), because there can be too many of its kind.
    #[must_use]
    pub fn unrecorded(mut self) -> Self {
        self.is_unrecorded = true;
        self
    }

    /// Status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Last part of the type.
    #[must_use]
    pub fn slug(&self) -> &str {
        &self.slug
    }

    /// 400: the request is malformed.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "Malformed request").detail(detail)
    }

    /// 401: no credentials, or credentials that are no longer valid.
    #[must_use]
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Authentication required")
            .detail(detail)
            .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// 403: authenticated, but not allowed.
    #[must_use]
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed").detail(detail)
    }

    /// 404: the resource does not exist, or belongs to another player.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found")
    }

    /// 422: the body can be parsed, but its content is invalid.
    #[must_use]
    pub fn invalid_body(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-body", "Invalid request body").detail(detail)
    }

    /// 422: the idempotency key was used for another request.
    #[must_use]
    pub fn idempotency_conflict() -> Self {
        let title = "The Idempotency-Key belongs to another request";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency-conflict", title)
            .detail("the key was used with another body, so this request had no effect")
    }

    /// 503: temporarily unavailable. The same request may be retried.
    #[must_use]
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Temporarily unavailable")
            .detail(detail)
            .header(header::RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// 500: an error of the server. The cause goes to the log, not to the caller.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal server error")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Body {
            r#type: format!("/problems/{}", self.slug),
            title: &self.title,
            status: self.status.as_u16(),
            detail: self.detail.as_deref(),
            trace_id: telemetry::trace_id(),
            sentry_event_id: self.sentry_event_id.as_deref(),
            more: &self.more,
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.extend(self.headers.map(|more| *more).unwrap_or_default());
        if self.is_unrecorded {
            response.extensions_mut().insert(Unrecorded);
        }
        response
    }
}
