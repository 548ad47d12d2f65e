//! Telemetry of a Pitboss process: spans, errors, logs and metrics, sent to Sentry.
//!
//! It guarantees that one bet is ONE trace over every hop. Every loss on the way to Sentry is counted by reason and reported.
//! No personal data leaves the process. A Sentry that is slow, hung or unreachable never delays a request.
//!
//! The path of a span, and the file to read for each step:
//!
//! 1. [`spans`] builds a `tracing` span with the names that Sentry's pages filter by (`sentry.op`, `messaging.*`, `db.*`).
//! 2. `tracing-opentelemetry` converts it into an OpenTelemetry span. [`sampling`] decides once, where the trace begins.
//! 3. `bridge` collects the ended spans of one local root and passes them together to the writer thread.
//! 4. The writer thread encodes the transaction (`transaction/encode.rs`), or its streamed spans (`transaction/stream.rs`), and
//!    scrubs every string ([`scrub`]).
//! 5. [`transport`] sends it: bounded queues (errors before spans), several requests in flight, rate limits, counted drops
//!    ([`drops`]).
//!
//! The `sentry` crate captures errors, logs and metrics. They are linked to the active OpenTelemetry span ([`mod@report`]) and
//! leave through the same transport. [`profile`] adds a CPU profile to a transaction. [`flags`] shows which faults are active.
//! [`watchdog`] reports a worker that a request blocks, and [`crash`] a signal that kills the process. [`check_in`] is a sign of life
//! for Sentry's cron monitors. [`sessions`] tell the health of a release. [`propagation`] carries the trace in HTTP and Kafka headers.

mod activity;
pub mod attributes;
mod bridge;
pub mod check_in;
mod config;
pub mod crash;
mod drop_count;
mod exception_group;
pub mod flags;
mod frames;
pub mod http;
mod init;
mod lifecycle;
mod logs;
pub mod metric;
mod process;
pub mod profile;
mod profiler;
pub mod propagation;
mod report;
pub mod sampling;
mod sampling_context;
pub mod scrub;
pub mod sessions;
pub mod spans;
mod status;
mod steps;
mod task;
mod threads;
mod tls;
mod transaction;
pub mod transport;
pub mod watchdog;
mod writer;

pub use config::{Config, LogFormat};
pub use drop_count::{Category, Drop, Reason, drops, drops_by_category, sampled_out};
pub use init::{InitError, Telemetry, init};
pub use lifecycle::TraceLifecycle;
pub use process::{cpu_time_ms, resident_bytes, set_runtime};
pub use report::{TAGS, last_event_id, report, report_as, report_group, set_user};
pub use sampling_context::SamplingContext;
pub use spans::trace_id;
pub use status::Status;
pub use task::{spawn, spawn_blocking, spawn_thread, with_hub};
