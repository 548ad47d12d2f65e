//! Interprets envelopes without any I/O, clock or task.
//!
//! It guarantees that arbitrary bytes cause no panic, and that time and memory grow linearly with their length. One invalid
//! field costs only itself. Data that is not understood is still stored by the journal, and never guessed.

pub mod assembly;
pub mod auth;
pub mod digest;
pub mod envelope;
pub mod event;
pub mod exception;
pub mod exception_groups;
pub mod fields;
pub mod grouping;
pub mod profile;
pub mod sessions;
pub mod signals;
pub mod spans;
pub mod strict;
pub mod timestamp;
pub mod trace;

/// Converts microseconds to seconds since the epoch, the unit that Sentry uses.
#[must_use]
pub fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}
