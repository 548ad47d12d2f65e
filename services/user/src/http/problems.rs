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
                    .detail("there were too many wrong passwords for this account")
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
    const INVALID: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;
    let (status, slug, title) = match refusal {
        Refusal::LimitNotPositive => (INVALID, "limit-not-positive", "A limit must be above zero"),
        Refusal::LimitTooHigh => (INVALID, "limit-too-high", "A limit must not exceed the largest transfer"),
        Refusal::ExclusionInThePast => {
            (INVALID, "exclusion-in-the-past", "A self-exclusion must end in the future")
        }
        Refusal::ExclusionTooShort => {
            (INVALID, "exclusion-too-short", "A self-exclusion must last at least one minute")
        }
        Refusal::ExclusionTooLong => {
            (INVALID, "exclusion-too-long", "A self-exclusion must last at most ten years")
        }
        Refusal::ExclusionShorter => {
            (StatusCode::CONFLICT, "exclusion-shorter", "A self-exclusion can be extended but not shortened")
        }
    };
    Problem::new(status, slug, title)
}

fn failed(error: &UserError) -> Problem {
    if error.class() == ErrorClass::Transient {
        tracing::warn!(error = %error, "a request failed and may succeed when it is repeated");
        return Problem::unavailable("repeat the request with the same key");
    }
    Problem::internal().sentry_event(telemetry::report(error, &[("operation", "request")]))
}
