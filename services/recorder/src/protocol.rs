//! What an envelope means, without any I/O, clock or task.
//!
//! Promise: arbitrary bytes never panic here; time and memory grow linearly with their length; one invalid field never
//! costs more than itself; what is not understood is kept by the journal anyway and never guessed.

pub mod auth;
pub mod digest;
pub mod envelope;
pub mod event;
pub mod fields;
pub mod grouping;
pub mod sessions;
pub mod signals;
pub mod timestamp;
pub mod trace;

/// Seconds since the epoch, as everywhere in Sentry.
#[must_use]
pub fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}
