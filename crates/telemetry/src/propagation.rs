//! The trace in headers, over HTTP and Kafka alike: `traceparent`, `tracestate`, `baggage`, `sentry-trace`.
//!
//! The stock Sentry propagator writes OpenTelemetry's ids but reads into a place of its own, so a trace breaks at the third
//! hop; W3C alone loses Sentry's sampling context. Here both are one: the ids are OpenTelemetry's, and the `sentry-*` entries
//! of `baggage` travel unchanged from the head to the last hop.
//!
//! Everything that comes in is bounded, and [`Trust`](trust::TrustPolicy) says what of it is believed.

use std::sync::Arc;

use bytes::Bytes;
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::dsc::Dsc;
use crate::sampling::Request;

mod baggage;
mod stored;
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

/// The sampling context that arrived with a remote parent; rides in the OpenTelemetry context.
#[derive(Debug, Clone)]
pub(crate) struct RemoteDsc(pub(crate) Arc<Dsc>);

/// Reads a trace from headers that are believed (Kafka, our own services).
///
/// Names in any case; several `baggage` headers count as one. No usable header: an empty context, and the next span begins a new trace.
pub fn extract<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Context {
    wire::Raw::read(headers).into_context()
}

/// Adds the trace of `span` to a record's headers.
pub fn inject(span: &Span, headers: &mut Vec<(String, Bytes)>) {
    let lines = headers_of(&span.context());
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
        headers.push((TRACEPARENT, wire::traceparent(span_context)));
        let state = span_context.trace_state().header();
        if !state.is_empty() && state.len() <= wire::TRACESTATE_BYTES_MAX {
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

/// The sampling context that belongs to a span: the local root's, else the one that came in, else our own word for it.
pub(crate) fn dsc_of(context: &Context, span_context: &SpanContext) -> Arc<Dsc> {
    if let Some(dsc) = crate::bridge::dsc_of_open_span(span_context.span_id()) {
        return dsc;
    }
    remote_dsc(context, span_context).unwrap_or_else(|| Arc::new(Dsc::of_span(span_context)))
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
