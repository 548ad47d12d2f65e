//! HTTP as every service serves it: for its own names only, bounded, traced, and with problems for answers where it says no.

mod accept;
mod crowd;
mod extract;
mod hosts;
mod idempotency_key;
mod layers;
mod patience;

pub use accept::serve;
pub use extract::{Json, Path, Query};
pub use hosts::Hosts;
pub use idempotency_key::{IDEMPOTENCY_KEY_HEADER, IdempotencyKey, KeyError};
pub use layers::{internal, layered, paths, router, with_problems};
