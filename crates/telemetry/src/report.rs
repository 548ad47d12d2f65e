//! Error reports, and the link from errors, logs and metrics to their trace.
//!
//! The `sentry` crate does not know OpenTelemetry spans, so this module links each item to the active one: errors in an
//! integration, logs and metrics in their `before_send` hooks, which run on the thread that created them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error;
use std::panic::PanicHookInfo;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use sentry::integrations::panic::message_from_panic_info;
use sentry::protocol::{
    Context as EventContext, Event, Exception, Level, Log, Mechanism, Metric, SpanId, TraceContext, TraceId,
    Value,
};
use sentry::{ClientOptions, Hub, Integration};
use tracing::Span;

use crate::attributes as names;
use crate::sampling_context::{DSC_CONTEXT, DSC_PREFIX};
use crate::spans::{self, Status};
use crate::{exception_group, frames, propagation, sessions, threads};

/// Target of log events whose error is already in Sentry.
pub(crate) const REPORTED_TARGET: &str = "telemetry::reported";

/// Names that become tags. Each has few values and none is untrusted text, because Sentry keeps an index of tags.
pub const TAGS: [&str; 13] = [
    "channel",
    "error.class",
    "error.kind",
    "event.type",
    "http.method",
    "http.route",
    "kind",
    "messaging.consumer.group.name",
    "messaging.destination.name",
    "operation",
    "outcome",
    "reason",
    "service",
];

/// The context with an event's details that are not tags.
const DETAILS_CONTEXT: &str = "pitboss";

/// Reports an error that needs action, in the current trace, with its chain of causes, and logs it.
///
/// Call it once, where the error is handled. The `details` named in [`TAGS`] become tags. The others (ids, positions) are in the
/// event's context `pitboss`, as information for the reader. Returns Sentry's event id.
#[track_caller]
pub fn report(error: &(dyn Error + 'static), details: &[(&str, &str)]) -> Option<String> {
    capture(sentry::event_from_error(error), &chain(error), details)
}

/// Does the same as [`report`], and groups the event by `fingerprint` instead of by its type and stack. It must have few values.
#[track_caller]
pub fn report_as(
    fingerprint: &[&str],
    error: &(dyn Error + 'static),
    details: &[(&str, &str)],
) -> Option<String> {
    let mut event = sentry::event_from_error(error);
    event.fingerprint = fingerprint.iter().map(|part| Cow::Owned((*part).to_owned())).collect();
    capture(event, &chain(error), details)
}

/// Reports several errors that failed the same work as one event: `error` is that of the whole, and `causes` are linked below it.
#[track_caller]
pub fn report_group(
    error: &(dyn Error + 'static),
    causes: &[&(dyn Error + 'static)],
    details: &[(&str, &str)],
) -> Option<String> {
    capture(exception_group::event_of(error, causes), &chain(error), details)
}

/// Id of the latest event in this error scope, such as that of the panic that a layer has caught. `None` without one.
#[must_use]
pub fn last_event_id() -> Option<String> {
    Hub::current().last_event_id().and_then(text_of)
}

fn text_of(id: sentry::types::Uuid) -> Option<String> {
    (!id.is_nil()).then(|| id.as_simple().to_string())
}

#[track_caller]
fn capture(mut event: Event<'static>, text: &str, details: &[(&str, &str)]) -> Option<String> {
    let mut others = BTreeMap::new();
    for (name, value) in details {
        if TAGS.contains(name) {
            event.tags.insert((*name).to_owned(), (*value).to_owned());
        } else {
            others.insert((*name).to_owned(), Value::from(*value));
        }
    }
    if !others.is_empty() {
        event.contexts.insert(DETAILS_CONTEXT.to_owned(), EventContext::Other(others));
    }
    frames::note_location(&mut event, std::panic::Location::caller());
    mark_failed();
    let id = Hub::current().capture_event(event);
    tracing::error!(target: REPORTED_TARGET, error = %text, "{}", detail_line(details));
    text_of(id)
}

fn chain(error: &(dyn Error + 'static)) -> String {
    const CAUSES_MAX: usize = 16;
    let causes = std::iter::successors(Some(error), |&error| error.source()).take(CAUSES_MAX);
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn detail_line(details: &[(&str, &str)]) -> String {
    details.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

/// Marks the active span as failed, unless the span's owner sets another status later.
fn mark_failed() {
    if let Some((_, span_context)) = active() {
        crate::bridge::set_status(span_context.span_id(), Status::InternalError);
    }
}

/// Sets the user by id, for everything that is reported in this scope and for the current transaction.
pub fn set_user(id: &str) {
    let user = sentry::User { id: Some(id.to_owned()), ..Default::default() };
    Hub::current().configure_scope(|scope| scope.set_user(Some(user)));
    spans::set_attr(&Span::current(), names::USER_ID, id.to_owned());
}

fn active() -> Option<(Context, SpanContext)> {
    let context = Context::current();
    let span_context = context.span().span_context().clone();
    span_context.is_valid().then_some((context, span_context))
}

fn wire_ids(span_context: &SpanContext) -> (TraceId, SpanId) {
    (span_context.trace_id().to_bytes().into(), span_context.span_id().to_bytes().into())
}

/// Puts errors into the trace that was active when they were captured.
pub(crate) struct LinkErrors;

impl Integration for LinkErrors {
    fn name(&self) -> &'static str {
        "opentelemetry-link"
    }

    fn process_event(&self, mut event: Event<'static>, _: &ClientOptions) -> Option<Event<'static>> {
        sessions::count(&event);
        let Some((context, span_context)) = active() else { return Some(event) };
        let (trace_id, span_id) = wire_ids(&span_context);
        let trace = TraceContext { trace_id, span_id, ..Default::default() };
        event.contexts.insert("trace".to_owned(), EventContext::Trace(Box::new(trace)));
        let dsc = propagation::sampling_context_of(&context, &span_context);
        let field = |(name, value): (&str, &str)| (format!("{DSC_PREFIX}{name}"), Value::from(value));
        let fields: BTreeMap<String, Value> = dsc.entries().map(field).collect();
        event.contexts.insert(DSC_CONTEXT.to_owned(), EventContext::Other(fields));
        Some(event)
    }
}

/// Puts a log line into the active trace.
pub(crate) fn link_log(mut log: Log) -> Option<Log> {
    if let Some((_, span_context)) = active() {
        let (trace_id, _) = wire_ids(&span_context);
        log.trace_id = Some(trace_id);
        log.attributes.insert(names::PARENT_SPAN_ID.to_owned(), span_context.span_id().to_string().into());
    }
    Some(log)
}

/// Puts a metric into the active trace.
pub(crate) fn link_metric(mut metric: Metric) -> Option<Metric> {
    if let Some((_, span_context)) = active() {
        let (trace_id, span_id) = wire_ids(&span_context);
        (metric.trace_id, metric.span_id) = (trace_id, Some(span_id));
    }
    Some(metric)
}

/// Reports panics in their trace. This hook only captures. The SDK's own hook waits for a flush in the thread that panicked,
/// which in a server is a worker that other requests need.
pub(crate) fn install_panic_hook() {
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        mark_failed();
        Hub::current().capture_event(panic_event(info));
        previous(info);
    }));
}

fn panic_event(info: &PanicHookInfo<'_>) -> Event<'static> {
    let exception = Exception {
        ty: "panic".to_owned(),
        value: Some(message_from_panic_info(info).to_owned()),
        mechanism: Some(Mechanism { ty: "panic".to_owned(), handled: Some(false), ..Default::default() }),
        ..Default::default()
    };
    let mut event = Event { exception: vec![exception].into(), level: Level::Fatal, ..Default::default() };
    if let Some(location) = info.location() {
        frames::note_location(&mut event, location);
    }
    threads::add(&mut event);
    event
}
