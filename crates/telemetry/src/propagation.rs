//! The trace in headers, over HTTP and Kafka alike: `traceparent`, `tracestate`, `baggage`, `sentry-trace`.
//!
//! The stock Sentry propagator writes OpenTelemetry's ids but reads into a place of its own, so a trace breaks at the third
//! hop; W3C alone loses Sentry's sampling context. Here both are one: the ids are OpenTelemetry's, and the `sentry-*` entries
//! of `baggage` travel unchanged from the head to the last hop.
//!
//! Everything that comes in is bounded, and [`Trust`](trust::TrustPolicy) says what of it is believed. A header that is damaged
//! or too large is dropped and counted; it never fails what it came with, and never joins two traces.

use std::sync::Arc;

use bytes::Bytes;
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceContextExt as _, TraceFlags, TraceId};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::dsc::Dsc;
use crate::sampling::Request;

mod baggage;
mod dropped;
mod stored;
mod trace_state;
mod trust;
mod wire;

pub use baggage::{ENTRY_PREFIX, entry, with_entry};
pub use stored::{StoredTrace, capture};
pub use trust::{Incoming, TrustPolicy, extract_untrusted};

/// W3C trace context.
pub const TRACEPARENT: &str = "traceparent";
/// W3C vendor state, passed on as it came.
pub const TRACESTATE: &str = "tracestate";
/// W3C baggage: `sentry-*` and `pitboss.*`, nothing else.
pub const BAGGAGE: &str = "baggage";
/// Sentry's own trace header, for SDKs that know no W3C.
pub const SENTRY_TRACE: &str = "sentry-trace";

/// W3C's level 2: the trace id is random in its last seven bytes.
const RANDOM: TraceFlags = TraceFlags::new(0x02);

/// The sampling context that arrived with a remote parent; rides in the OpenTelemetry context.
#[derive(Debug, Clone)]
pub(crate) struct RemoteDsc(pub(crate) Arc<Dsc>);

/// A trace whose id the head called random; rides along too, for the SDK forgets the flags of what it does not record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RandomTrace(TraceId);

/// The name of the trace header that this is, exactly; `None` for every other one.
fn trace_header(name: &str) -> Option<&'static str> {
    [TRACEPARENT, TRACESTATE, BAGGAGE, SENTRY_TRACE].into_iter().find(|known| *known == name)
}

/// Whether a record's header belongs to its trace: what [`inject`] replaces. Names are case-sensitive.
pub fn is_trace_header(name: &str) -> bool {
    trace_header(name).is_some()
}

/// Whether this is a `traceparent` or a `sentry-trace` that names a trace: of several of one name the last such one counts.
pub fn names_a_trace(name: &str, value: &[u8]) -> bool {
    wire::names_a_trace(name, value)
}

/// Reads a trace from headers that are believed (Kafka, our own services).
///
/// Names are exact. Of several `traceparent` or `sentry-trace` the last valid one counts; several `tracestate` are one list; of
/// several `baggage` all are read. No usable header: an empty context, and the next span begins a new trace.
pub fn extract<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Context {
    wire::Raw::read(headers).into_context()
}

/// The same for a message that may carry its trace inside, as an extension of its CloudEvent (`traceparent`, `tracestate`).
///
/// A header comes from whoever sent the message last, the extension from whoever made the event: so it counts only where no
/// header names a trace.
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
    // what the headers say besides a trace still holds
    inside.baggage = raw.baggage;
    inside.into_context()
}

/// Puts the trace of `span` into a record's headers, in place of any that it had: each stands there once.
///
/// Without a trace (telemetry is off) the headers stay as they are.
pub fn inject(span: &Span, headers: &mut Vec<(String, Bytes)>) {
    let lines = headers_of(&span.context());
    let is_written = |name: &str| lines.iter().any(|(written, _)| *written == name);
    let is_whole = is_written(TRACEPARENT);
    headers.retain(|(name, _)| !(is_written(name) || is_whole && is_trace_header(name)));
    headers.extend(lines.into_iter().map(|(name, value)| (name.to_owned(), Bytes::from(value))));
}

/// The current trace as headers: what an HTTP request to a service of ours carries.
pub fn current_headers() -> Vec<(String, String)> {
    headers_of(&Context::current()).into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Any context as headers; empty when there is no trace.
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
    let dsc = span_context.is_valid().then(|| dsc_of(context, span_context));
    let line = baggage::write(context, dsc.as_deref());
    if !line.is_empty() {
        headers.push((BAGGAGE, line));
    }
    headers
}

/// The sampling context that belongs to a span: the local root's, else the one that came in, else what was said of the trace
/// before, else our own word for it.
pub(crate) fn dsc_of(context: &Context, span_context: &SpanContext) -> Arc<Dsc> {
    if let Some(dsc) = crate::bridge::dsc_of_open_span(span_context.span_id()) {
        return dsc;
    }
    remote_dsc(context, span_context)
        .or_else(|| crate::bridge::dsc_of_trace(span_context.trace_id()))
        .unwrap_or_else(|| Arc::new(Dsc::of_span(span_context)))
}

/// What came in, when it speaks of this trace; with our own decision in it when we decided.
pub(crate) fn remote_dsc(context: &Context, span_context: &SpanContext) -> Option<Arc<Dsc>> {
    let RemoteDsc(dsc) = context.get::<RemoteDsc>()?;
    if !dsc.speaks_of(span_context.trace_id()) {
        return None;
    }
    if context.get::<Request>().is_none() {
        return Some(Arc::clone(dsc));
    }
    let decided = Dsc::clone(dsc).decided_here(span_context.trace_id(), span_context.is_sampled());
    Some(Arc::new(decided))
}

#[cfg(test)]
mod tests;
