//! CPU profiles: samples of the process's stacks, sent to Sentry with one transaction or continuously in chunks.
//!
//! The profile of a transaction is recorded on request ([`start`]) or for a share of all transactions (`SENTRY_PROFILES_SAMPLE_RATE`,
//! 0 by default). A continuous profile is recorded on request ([`run_for`]) or for a share of the processes
//! (`SENTRY_PROFILE_SESSION_SAMPLE_RATE`, 0 by default). Without one, nothing of the profiler runs.

use std::time::Duration;

use opentelemetry::trace::TraceContextExt as _;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

pub use crate::profiler::{Lifecycle, Profiler};
use crate::{bridge, profiler};

/// Starts a CPU profile for the transaction of `span`, and waits until samples are taken.
///
/// Call it on a thread for blocking work, because `pprof` first reads the program's symbols. It returns `None` if the
/// transaction is not recorded, or if this process has another one now or had one just before. It may run beside a continuous profile.
#[must_use]
pub fn start(span: &Span) -> Option<Profiler> {
    let held = bridge::hold(span.context().span().span_context().span_id())?;
    profiler::begin_and_wait(move |profile| held.release(profile))
}

/// Longest time for which [`run_for`] profiles the process.
pub const RUN_MAX: Duration = profiler::RUN_MAX;

/// Profiles the process continuously for this long, at most for [`RUN_MAX`]: from the first sample on, or from now on if it runs
/// already. A longer request that was made before stays.
///
/// It does not wait. Returns false if this process sends no telemetry, or ends.
pub fn run_for(duration: Duration) -> bool {
    profiler::run_for(duration)
}

/// Id of the continuous profile that runs now, as 32 hex digits. Its chunks and the spans that begin meanwhile have it.
#[must_use]
pub fn profiler_id() -> Option<String> {
    profiler::running().map(|id| id.to_string())
}
