//! Everything a Pitboss process says about itself: spans, errors, logs and metrics, out to Sentry.
//!
//! The promises kept here: one bet is ONE trace over every hop; whatever is lost on the way out is counted by reason and
//! reported; nothing personal leaves; and a Sentry that is slow, hung or gone never delays a request.
//!
//! A span's way out, and the file to read for each step:
//!
//! 1. [`spans`] builds a `tracing` span with the names that Sentry's pages filter by (`sentry.op`, `messaging.*`, `db.*`).
//! 2. `tracing-opentelemetry` turns it into an OpenTelemetry span; [`sampling`] decides once, at the edge.
//! 3. `bridge` collects the ended spans of one local root and hands them, whole, to a thread of its own.
//! 4. That thread writes the transaction (`bridge/encode.rs`), scrubbing every string ([`scrub`]).
//! 5. [`transport`] sends it: bounded queues (errors before spans), several in flight, rate limits obeyed, drops counted
//!    ([`drops`]).
//!
//! Errors, logs and metrics are captured by the `sentry` crate, linked to the active OpenTelemetry span ([`mod@report`]) and
//! leave through the same transport. [`propagation`] carries the trace over HTTP and Kafka headers.

pub mod attributes;
mod bridge;
mod config;
mod drop_count;
mod dsc;
mod frames;
pub mod http;
mod init;
mod logs;
pub mod metric;
pub mod propagation;
mod report;
pub mod sampling;
pub mod scrub;
pub mod spans;
mod task;
pub mod transport;
mod writer;

pub use config::{Config, LogFormat};
pub use drop_count::{Category, Drop, Reason, drops, drops_by_category, sampled_out};
pub use dsc::Dsc;
pub use init::{InitError, Telemetry, init};
pub use report::{TAGS, report, set_user};
pub use spans::{Status, trace_id};
pub use task::{spawn, spawn_blocking, with_hub};
