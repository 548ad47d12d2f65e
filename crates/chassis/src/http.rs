//! HTTP server of all services: checks the host, bounds and traces each request, and answers errors as problems.

mod accept;
mod connection_limits;
mod extract;
mod hosts;
mod idempotency_key;
mod layers;
mod slow_clients;
mod unread_body;

pub use accept::serve;
pub use extract::{Json, Path, Query, RawBody};
pub use hosts::Hosts;
pub use idempotency_key::{IDEMPOTENCY_KEY_HEADER, IdempotencyKey, KeyError};
pub(crate) use layers::internal_token_refused;
pub use layers::{internal, layered, paths, router, with_body_limit, with_internal_token, with_problems};
