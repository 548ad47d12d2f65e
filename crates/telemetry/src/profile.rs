//! CPU profiles: samples of the process's stacks while one transaction runs, sent to Sentry together with that transaction.
//!
//! A profile is recorded on request ([`start`]) or for a share of all transactions (`SENTRY_PROFILES_SAMPLE_RATE`, 0 by default).
//! Without one, nothing of the profiler runs.

use opentelemetry::trace::TraceContextExt as _;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

pub use crate::profiler::Profiler;
use crate::{bridge, profiler};

/// Starts a CPU profile for the transaction of `span`, and waits until samples are taken.
///
/// Call it on a thread for blocking work, because `pprof` first reads the program's symbols. It returns `None` if the
/// transaction is not recorded, or if this process has another profile now or had one just before.
#[must_use]
pub fn start(span: &Span) -> Option<Profiler> {
    let held = bridge::hold(span.context().span().span_context().span_id())?;
    profiler::begin_and_wait(move |profile| held.release(profile))
}
