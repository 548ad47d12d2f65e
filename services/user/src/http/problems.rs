//! Converts errors to problems. A refusal gives its reason. A failure only shows whether repeating may help.

use chassis::problem::Problem;
use contracts::{Classify, ErrorClass, FieldError};
use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use store::StoreError;

use crate::domain::Refusal;
use crate::error::UserError;

impl From<UserError> for Problem {
    fn from(error: UserError) -> Self {
        match error {
            UserError::NoSuchPlayer => Self::not_found(),
            UserError::EmailTaken => {
                Self::new(StatusCode::CONFLICT, "email-taken", "The e-mail address is taken")
            }
            UserError::WrongCredentials => Self::unauthorized("the e-mail address or the password is wrong"),
            UserError::OtherRequest => Self::idempotency_conflict(),
            UserError::TooManyAttempts { wait_s } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests")
                    .detail("the limit per account is reached")
                    .header(RETRY_AFTER, HeaderValue::from(wait_s))
            }
            UserError::Refused(refusal) => refused(refusal),
            other => failed(&other),
        }
    }
}

/// Converts a failure of the store, for routes where nothing else can fail.
pub(super) fn store_failed(error: StoreError) -> Problem {
    Problem::from(UserError::from(error))
}

/// Converts an invalid field.
pub(super) fn invalid(error: &FieldError) -> Problem {
    Problem::invalid_body(error.to_string()).with("field", error.field.clone())
}

fn refused(refusal: Refusal) -> Problem {
    let (status, slug, title) = match refusal {
        Refusal::LimitNotPositive => {
            (StatusCode::UNPROCESSABLE_ENTITY, "limit-not-positive", "A limit must be above zero")
        }
        Refusal::LimitTooHigh => {
            (StatusCode::UNPROCESSABLE_ENTITY, "limit-too-high", "A limit that high limits nothing")
        }
        Refusal::ExclusionInThePast => {
            (StatusCode::UNPROCESSABLE_ENTITY, "exclusion-in-the-past", "The exclusion has ended already")
        }
        Refusal::ExclusionTooShort => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "exclusion-too-short",
            "An exclusion lasts a minute at least: a shorter one could end before it is enforced",
        ),
        Refusal::ExclusionTooLong => {
            (StatusCode::UNPROCESSABLE_ENTITY, "exclusion-too-long", "An exclusion lasts ten years at most")
        }
        Refusal::ExclusionShorter => {
            (StatusCode::CONFLICT, "exclusion-shorter", "A self-exclusion can be prolonged but not shortened")
        }
    };
    Problem::new(status, slug, title)
}

fn failed(error: &UserError) -> Problem {
    if error.class() == ErrorClass::Transient {
        tracing::warn!(error = %error, "a request could not be served now");
        return Problem::unavailable("repeat the request with the same key");
    }
    Problem::internal().sentry_event(telemetry::report(error, &[("operation", "request")]))
}
