//! The client's name for its request.

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use chassis::problem::Problem;
use http::request::Parts;

/// The header.
const NAME: &str = "idempotency-key";
/// As long as an event id may be: the gateway sends one.
const BYTES_MAX: usize = 128;

/// A key: 1 to 128 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IdempotencyKey(String);

impl IdempotencyKey {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The header is there, and is no key.
struct Malformed;

impl From<Malformed> for Problem {
    fn from(_: Malformed) -> Self {
        Self::bad_request("Idempotency-Key must be 1 to 128 visible ASCII characters")
    }
}

fn read(parts: &Parts) -> Result<Option<IdempotencyKey>, Malformed> {
    let Some(value) = parts.headers.get(NAME) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    if text.is_empty() || text.len() > BYTES_MAX || !plain {
        return Err(Malformed);
    }
    Ok(Some(IdempotencyKey(text.to_owned())))
}

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        read(parts)?.ok_or_else(|| Problem::bad_request("Idempotency-Key is missing"))
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, Problem> {
        Ok(read(parts)?)
    }
}
