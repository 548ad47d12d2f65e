//! The headers' syntax: reading what came, bounded, and writing what goes.

use std::sync::Arc;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};

use super::{BAGGAGE, RemoteDsc, SENTRY_TRACE, TRACEPARENT, TRACESTATE, baggage};
use crate::sampling::Request;

/// Headers looked at; a hostile record may carry thousands.
const HEADERS_MAX: usize = 128;
/// Longer than any valid `traceparent` of a version to come.
const TRACEPARENT_BYTES_MAX: usize = 128;
/// W3C asks for at least this much.
pub(super) const TRACESTATE_BYTES_MAX: usize = 512;

/// What the headers say, before anybody decided whether to believe it.
#[derive(Debug, Default)]
pub(super) struct Raw {
    /// The caller's position; `None` when there was none or it was malformed.
    pub(super) parent: Option<SpanContext>,
    /// `sentry-trace` came without a flag: the caller left the decision to us.
    pub(super) undecided: bool,
    pub(super) baggage: baggage::Parsed,
}

impl Raw {
    pub(super) fn read<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let (mut traceparent, mut sentry_trace, mut state) = (None, None, None);
        let mut lines = baggage::Lines::default();
        for (name, value) in headers.into_iter().take(HEADERS_MAX) {
            let Ok(value) = std::str::from_utf8(value) else { continue };
            if name.eq_ignore_ascii_case(BAGGAGE) {
                lines.add(value);
            } else if name.eq_ignore_ascii_case(TRACEPARENT) {
                traceparent = traceparent.or_else(|| parse_traceparent(value.trim()));
            } else if name.eq_ignore_ascii_case(SENTRY_TRACE) {
                sentry_trace = sentry_trace.or_else(|| parse_sentry_trace(value.trim()));
            } else if name.eq_ignore_ascii_case(TRACESTATE) && value.len() <= TRACESTATE_BYTES_MAX {
                state = state.or_else(|| value.trim().parse::<TraceState>().ok());
            }
        }
        // W3C first: it is what our own services write, and both say the same when both are there
        let (ids, undecided) = match (traceparent, sentry_trace) {
            (Some((trace, span, flags)), _) => (Some((trace, span, flags)), false),
            (None, Some((trace, span, Some(sampled)))) => {
                (Some((trace, span, TraceFlags::default().with_sampled(sampled))), false)
            }
            (None, Some((trace, span, None))) => (Some((trace, span, TraceFlags::default())), true),
            (None, None) => (None, false),
        };
        let parent = ids.map(|(trace, span, flags)| {
            SpanContext::new(trace, span, flags, true, state.unwrap_or_default())
        });
        Self { parent, undecided, baggage: lines.parse() }
    }

    /// The context that continues this trace as it was told.
    pub(super) fn into_context(self) -> Context {
        let undecided = self.undecided;
        let context = self.into_context_with_parent();
        if undecided { context.with_value(Request::DecideHere) } else { context }
    }

    pub(super) fn into_context_with_parent(self) -> Context {
        let Self { parent, baggage, .. } = self;
        let mut context = baggage::keep(Context::new(), baggage.own);
        let Some(parent) = parent else { return context };
        if let Some(dsc) = baggage.dsc.filter(|dsc| dsc.speaks_of(parent.trace_id())) {
            context = context.with_value(RemoteDsc(Arc::new(dsc)));
        }
        context.with_remote_span_context(parent)
    }
}

pub(super) fn traceparent(context: &SpanContext) -> String {
    let flags = if context.is_sampled() { "01" } else { "00" };
    format!("00-{}-{}-{flags}", context.trace_id(), context.span_id())
}

pub(super) fn sentry_trace(context: &SpanContext) -> String {
    let sampled = if context.is_sampled() { '1' } else { '0' };
    format!("{}-{}-{sampled}", context.trace_id(), context.span_id())
}

fn parse_traceparent(value: &str) -> Option<(TraceId, SpanId, TraceFlags)> {
    if value.len() > TRACEPARENT_BYTES_MAX {
        return None;
    }
    let mut parts = value.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let future = version != "00";
    if version.len() != 2 || !is_hex(version) || version == "ff" || (!future && parts.next().is_some()) {
        return None;
    }
    if flags.len() != 2 || !is_hex(flags) {
        return None;
    }
    let (trace, span) = ids(trace, span)?;
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    Some((trace, span, flags))
}

fn parse_sentry_trace(value: &str) -> Option<(TraceId, SpanId, Option<bool>)> {
    if value.len() > TRACEPARENT_BYTES_MAX {
        return None;
    }
    let mut parts = value.split('-');
    let (trace, span) = ids(parts.next()?, parts.next()?)?;
    match (parts.next(), parts.next()) {
        (None, None) => Some((trace, span, None)),
        (Some("1"), None) => Some((trace, span, Some(true))),
        (Some("0"), None) => Some((trace, span, Some(false))),
        _ => None,
    }
}

/// Both ids of the right length, lower-case hex and not zero, as W3C demands.
fn ids(trace: &str, span: &str) -> Option<(TraceId, SpanId)> {
    if trace.len() != 32 || span.len() != 16 || !is_hex(trace) || !is_hex(span) {
        return None;
    }
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    (trace != TraceId::INVALID && span != SpanId::INVALID).then_some((trace, span))
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
