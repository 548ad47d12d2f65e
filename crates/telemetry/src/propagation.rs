//! Trace propagation in HTTP and Kafka headers: `traceparent`, `tracestate`, `baggage`, `sentry-trace`.
//!
//! The stock Sentry propagator writes OpenTelemetry's ids but reads into a separate place, so a trace breaks at the third hop.
//! W3C headers alone lose Sentry's sampling context. This module combines both. The ids are OpenTelemetry's, and the `sentry-*`
//! entries of `baggage` travel from the head to the last hop.
//!
//! All input is limited in size, and [`TrustPolicy`] decides which headers are trusted. An invalid or too
//! large header is dropped and counted. It never causes its message to fail, and never joins two traces.

use std::sync::Arc;

use bytes::Bytes;
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceContextExt as _, TraceFlags, TraceId};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::bridge::{context_of_open_span, context_of_trace};
use crate::sampling_context::{SamplingContext, SharedContext, remote_context};

mod baggage;
mod dropped;
mod stored;
mod trace_state;
mod trust;
mod wire;

pub use baggage::{ENTRY_PREFIX, baggage_entry, entry, with_entry};
pub use stored::{StoredTrace, capture};
pub use trust::{Incoming, TrustPolicy, extract_untrusted};

/// W3C trace context.
pub const TRACEPARENT: &str = "traceparent";
/// W3C vendor state, passed on unchanged.
pub const TRACESTATE: &str = "tracestate";
/// W3C baggage: `sentry-*` and `pitboss.*`, nothing else.
pub const BAGGAGE: &str = "baggage";
/// Sentry's own trace header, for SDKs without W3C support.
pub const SENTRY_TRACE: &str = "sentry-trace";

/// W3C's level 2: the last seven bytes of the trace id are random.
const RANDOM: TraceFlags = TraceFlags::new(0x02);

/// A trace whose id is random according to its head. It is in the context, because the SDK drops the flags of unrecorded spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RandomTrace(TraceId);

/// Returns the trace header's constant name, or `None` for any other header. The match is exact.
fn trace_header(name: &str) -> Option<&'static str> {
    [TRACEPARENT, TRACESTATE, BAGGAGE, SENTRY_TRACE].into_iter().find(|known| *known == name)
}

/// Returns true if a record's header is a trace header, which [`inject`] replaces. Names are case-sensitive.
pub fn is_trace_header(name: &str) -> bool {
    trace_header(name).is_some()
}

/// Returns true for a valid `traceparent` or `sentry-trace`. Of several with one name the last valid one counts.
pub fn names_a_trace(name: &str, value: &[u8]) -> bool {
    wire::names_a_trace(name, value)
}

/// Reads a trace from trusted headers (Kafka, Pitboss services).
///
/// Names are exact. Of several `traceparent` or `sentry-trace` the last valid one counts. Several `tracestate` form one list.
/// The last 16 `baggage` are read. Without a usable header the context is empty, and the next span begins a new trace.
pub fn extract<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Context {
    wire::Raw::read(headers).into_context()
}

/// Does the same for a message whose CloudEvents extension may carry a trace (`traceparent`, `tracestate`).
///
/// The last sender of the message wrote the headers, and the event's creator wrote the extension. So the extension counts only
/// if no header names a trace.
pub fn extract_with_extension<'a>(
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    extension: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Context {
    let raw = wire::Raw::read(headers);
    if raw.names_a_trace() {
        return raw.into_context();
    }
    let of_event = extension.into_iter().filter(|(name, _)| matches!(*name, TRACEPARENT | TRACESTATE));
    let mut inside = wire::Raw::read(of_event.map(|(name, value)| (name, value.as_bytes())));
    // The baggage from the headers still applies
    inside.baggage = raw.baggage;
    inside.into_context()
}

/// Returns the span that headers name, as the target of a link from another trace.
pub fn origin<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Option<SpanContext> {
    let context = extract(headers);
    let origin = context.span().span_context().clone();
    origin.is_valid().then_some(origin)
}

/// Writes the trace of `span` into a record's headers, each exactly once, and removes existing trace headers.
///
/// Without a trace (telemetry is off) they stay unchanged, except `baggage` if the context has Pitboss entries.
pub fn inject(span: &Span, headers: &mut Vec<(String, Bytes)>) {
    let lines = headers_of(&span.context());
    let is_written = |name: &str| lines.iter().any(|(written, _)| *written == name);
    let has_trace = is_written(TRACEPARENT);
    headers.retain(|(name, _)| !(is_written(name) || has_trace && is_trace_header(name)));
    headers.extend(lines.into_iter().map(|(name, value)| (name.to_owned(), Bytes::from(value))));
}

/// The current trace as headers, for an HTTP request to a Pitboss service.
pub fn current_headers() -> Vec<(String, String)> {
    headers_of(&Context::current()).into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The trace of a context as headers. Without a trace only baggage entries remain.
pub fn headers_of(context: &Context) -> Vec<(&'static str, String)> {
    let active = context.span();
    let span_context = active.span_context();
    let mut headers = Vec::with_capacity(4);
    if span_context.is_valid() {
        let random = context.get::<RandomTrace>();
        let is_random = random.is_some_and(|random| random.0 == span_context.trace_id());
        headers.push((TRACEPARENT, wire::traceparent(span_context, is_random)));
        let state = span_context.trace_state().header();
        if !state.is_empty() && state.len() <= trace_state::BYTES_MAX {
            headers.push((TRACESTATE, state));
        }
        headers.push((SENTRY_TRACE, wire::sentry_trace(span_context)));
    }
    let dsc = span_context.is_valid().then(|| sampling_context_of(context, span_context));
    let line = baggage::write(context, dsc.as_deref());
    if !line.is_empty() {
        headers.push((BAGGAGE, line));
    }
    headers
}

/// The sampling context of a span: from its open local root, otherwise from the remote caller, otherwise from an earlier span
/// of the trace, otherwise a new one.
pub(crate) fn sampling_context_of(context: &Context, span_context: &SpanContext) -> SharedContext {
    if let Some(dsc) = context_of_open_span(span_context.span_id()) {
        return dsc;
    }
    remote_context(context, span_context)
        .or_else(|| context_of_trace(span_context.trace_id()))
        .unwrap_or_else(|| Arc::new(SamplingContext::of_span(span_context)))
}

#[cfg(test)]
mod tests;
