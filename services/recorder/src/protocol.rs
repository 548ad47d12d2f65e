//! Interprets envelopes without any I/O, clock or task.
//!
//! It guarantees that arbitrary bytes cause no panic, and that time and memory grow linearly with their length. One invalid
//! field costs only itself. Data that is not understood is still stored by the journal, and never guessed.

pub mod actions;
pub mod alert_state;
pub mod assembly;
pub mod auth;
pub mod check_in;
pub mod crontab;
mod culprit;
mod derived_op;
pub mod digest;
pub mod envelope;
pub mod event;
pub mod exception;
pub mod exception_groups;
pub mod fields;
pub mod flame;
pub mod grouping;
pub mod images;
pub mod minidump;
pub mod otlp;
pub mod profile;
pub mod sessions;
pub mod signals;
pub mod spans;
pub mod strict;
pub mod timestamp;
pub mod trace;
pub mod zone;

/// Project of what the recorder itself stores. No sender has it.
pub const NO_PROJECT: u32 = 0;

/// Converts microseconds to seconds since the epoch, the unit that Sentry uses.
#[must_use]
pub fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// Rounds a time to microseconds, which a float holds exactly. More digits could change when they are stored as text.
#[must_use]
pub fn to_microsecond(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}
