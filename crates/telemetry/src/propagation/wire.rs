//! Syntax of the trace headers: limited reading, and writing.
//!
//! Of several headers of one name the last valid one counts, as in Kafka, because instrumentations append. Unused headers are
//! counted ([`super::dropped`]). An invalid header costs the message only its trace.

use std::collections::VecDeque;
use std::sync::Arc;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};

use super::baggage::{self, Parsed};
use super::dropped::{DropReason, Dropped};
use super::trace_state::Members;
use super::{BAGGAGE, RANDOM, RandomTrace, SENTRY_TRACE, TRACEPARENT, TRACESTATE};
use crate::sampling::Request;
use crate::sampling_context::{RemoteContext, SamplingContext};

/// Longer than any valid `traceparent` of a future version.
const TRACEPARENT_BYTES_MAX: usize = 128;
/// Largest number of `baggage` headers. The last ones are read.
const BAGGAGE_LINES_MAX: usize = 16;

/// A `sentry-trace`. Without a flag the caller leaves the sampling decision to this process.
type SentryTrace = (TraceId, SpanId, Option<bool>);

/// The content of the headers, before the decision to trust it.
#[derive(Debug, Default)]
pub(super) struct Raw {
    w3c: Option<SpanContext>,
    sentry: Option<SentryTrace>,
    pub(super) baggage: Parsed,
    pub(super) dropped: Dropped,
}

/// The caller's span, and the sampling context of its trace.
#[derive(Debug, Default)]
pub(super) struct Caller {
    /// `None` if no header names a span.
    pub(super) parent: Option<SpanContext>,
    /// The caller left the sampling decision to this process.
    pub(super) undecided: bool,
    pub(super) dsc: Option<SamplingContext>,
}

impl Raw {
    pub(super) fn read<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut raw = Self::default();
        let (mut w3c, mut members) = (None, Members::default());
        let mut lines: VecDeque<&str> = VecDeque::new();
        for (name, value) in headers {
            // Names are exact: Kafka's are case-sensitive, and the HTTP server makes them lower case
            let Some(name) = super::trace_header(name) else { continue };
            let Ok(value) = std::str::from_utf8(value) else {
                raw.dropped.record(name, DropReason::NotText);
                continue;
            };
            let value = value.trim_matches([' ', '\t']);
            match name {
                TRACEPARENT => keep_last(name, value, parse_traceparent, &mut w3c, &mut raw.dropped),
                SENTRY_TRACE => keep_last(name, value, parse_sentry_trace, &mut raw.sentry, &mut raw.dropped),
                TRACESTATE => members.add(value, &mut raw.dropped),
                _ => {
                    lines.push_back(value);
                    if lines.len() > BAGGAGE_LINES_MAX && lines.pop_front().is_some() {
                        raw.dropped.record(BAGGAGE, DropReason::Oversized);
                    }
                }
            }
        }
        raw.w3c = w3c.map(|(trace, span, flags)| {
            SpanContext::new(trace, span, flags, true, members.into_state(&mut raw.dropped))
        });
        raw.baggage = baggage::parse(lines.into_iter(), &mut raw.dropped);
        raw
    }

    /// Returns true if a header names a trace.
    pub(super) fn names_a_trace(&self) -> bool {
        self.w3c.is_some() || self.sentry.is_some()
    }

    /// Selects the caller. If both headers are present, `sentry-trace` has precedence if the sampling context of its trace is
    /// `trusted`. The sampling context of the other trace does not matter.
    pub(super) fn caller(&mut self, trusted: impl Fn(Option<&SamplingContext>) -> bool) -> Caller {
        let (w3c, sentry) = (self.w3c.take(), self.sentry.take());
        let (Some(w3c), Some(sentry)) = (&w3c, sentry) else {
            return match (w3c, sentry) {
                (Some(w3c), _) => self.by_w3c(w3c),
                (None, Some(sentry)) => self.by_sentry(sentry, None),
                (None, None) => Caller::default(),
            };
        };
        let is_sentrys = trusted(self.baggage.sampling_context_of(sentry.0));
        let unused = if is_sentrys { TRACEPARENT } else { SENTRY_TRACE };
        if w3c.trace_id() != sentry.0 {
            self.dropped.record(unused, DropReason::Conflict);
        } else if sentry.2.is_some_and(|sampled| sampled != w3c.is_sampled()) {
            self.dropped.record(unused, DropReason::Sampling);
        }
        if is_sentrys { self.by_sentry(sentry, Some(w3c)) } else { self.by_w3c(w3c.clone()) }
    }

    fn by_w3c(&self, parent: SpanContext) -> Caller {
        let dsc = self.baggage.sampling_context_of(parent.trace_id()).cloned();
        Caller { parent: Some(parent), undecided: false, dsc }
    }

    /// A `traceparent` of the same trace adds what `sentry-trace` cannot express.
    fn by_sentry(&self, (trace, span, sampled): SentryTrace, w3c: Option<&SpanContext>) -> Caller {
        let same = w3c.filter(|w3c| w3c.trace_id() == trace);
        let flags = same.map_or(TraceFlags::default(), SpanContext::trace_flags);
        let state = same.map_or_else(TraceState::default, |same| same.trace_state().clone());
        let flags = sampled.map_or(flags, |sampled| flags.with_sampled(sampled));
        Caller {
            parent: Some(SpanContext::new(trace, span, flags, true, state)),
            undecided: sampled.is_none() && same.is_none(),
            dsc: self.baggage.sampling_context_of(trace).cloned(),
        }
    }

    /// The context that continues a trusted trace. `sentry-trace` counts first if its sampling context has a public key.
    pub(super) fn into_context(mut self) -> Context {
        let caller = self.caller(|dsc| dsc.is_some_and(|dsc| dsc.public_key.is_some()));
        let undecided = caller.undecided;
        let context = self.continuing(caller);
        if undecided { context.with_value(Request::DecideHere) } else { context }
    }

    pub(super) fn continuing(self, caller: Caller) -> Context {
        let mut context = baggage::keep(Context::new(), self.baggage.own.clone());
        let Some(parent) = caller.parent else { return context };
        if let Some(dsc) = caller.dsc {
            context = context.with_value(RemoteContext(Arc::new(dsc)));
        }
        if parent.trace_flags() & RANDOM == RANDOM {
            context = context.with_value(RandomTrace(parent.trace_id()));
        }
        context.with_remote_span_context(parent)
    }
}

/// Stores this header's value in place of an earlier one. An invalid value leaves the earlier one unchanged.
fn keep_last<T>(
    name: &'static str,
    value: &str,
    parse: impl Fn(&str) -> Option<T>,
    known: &mut Option<T>,
    dropped: &mut Dropped,
) {
    if value.len() > TRACEPARENT_BYTES_MAX {
        return dropped.record(name, DropReason::Oversized);
    }
    let Some(parsed) = parse(value) else { return dropped.record(name, DropReason::Malformed) };
    if known.replace(parsed).is_some() {
        dropped.record(name, DropReason::Duplicate);
    }
}

/// Returns true for a header that [`keep_last`] would store.
pub(super) fn names_a_trace(name: &str, value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else { return false };
    let text = text.trim_matches([' ', '\t']);
    text.len() <= TRACEPARENT_BYTES_MAX
        && match name {
            TRACEPARENT => parse_traceparent(text).is_some(),
            SENTRY_TRACE => parse_sentry_trace(text).is_some(),
            _ => false,
        }
}

/// Formats version 00 with the flags that level 2 of the specification defines.
pub(super) fn traceparent(context: &SpanContext, is_random: bool) -> String {
    let random = if is_random { RANDOM } else { TraceFlags::default() };
    let flags = (context.trace_flags() | random) & (TraceFlags::SAMPLED | RANDOM);
    format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), flags)
}

pub(super) fn sentry_trace(context: &SpanContext) -> String {
    let sampled = if context.is_sampled() { '1' } else { '0' };
    format!("{}-{}-{sampled}", context.trace_id(), context.span_id())
}

/// Reads a future version as far as version 00 goes. Unknown flags are ignored and not refused.
fn parse_traceparent(value: &str) -> Option<(TraceId, SpanId, TraceFlags)> {
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
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & (TraceFlags::SAMPLED | RANDOM);
    Some((trace, span, flags))
}

fn parse_sentry_trace(value: &str) -> Option<SentryTrace> {
    let mut parts = value.split('-');
    let (trace, span) = ids(parts.next()?, parts.next()?)?;
    match (parts.next(), parts.next()) {
        (None | Some(""), None) => Some((trace, span, None)),
        (Some("1"), None) => Some((trace, span, Some(true))),
        (Some("0"), None) => Some((trace, span, Some(false))),
        _ => None,
    }
}

/// Parses both ids, which must have the right length, be lower-case hex and not zero (W3C).
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
