//! Constructors of spans, one per kind of work, with exactly the names that Sentry's pages filter by.
//!
//! A span made here is exported; any other `tracing` span is not (it has no `sentry.op`). The op says what kind of work it
//! is, the description what exactly; the stock bridge sets both to the span's name, and every page stays empty.

use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use opentelemetry::{Array, Context, StringValue, Value};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::attributes as names;

mod status;
pub use status::Status;

/// What is known when a record is published.
#[derive(Debug, Clone, Copy, Default)]
pub struct PublishAttrs<'a> {
    /// The event's `ce_id`.
    pub message_id: &'a str,
    /// The topic.
    pub destination: &'a str,
    /// `casino.<area>.v1.<Type>`, where it is known.
    pub event_type: Option<&'a str>,
    /// Bytes of the value.
    pub body_size_bytes: usize,
}

/// What is known when a record is processed.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessAttrs<'a> {
    /// The event's `ce_id`.
    pub message_id: &'a str,
    /// The topic.
    pub destination: &'a str,
    /// `casino.<area>.v1.<Type>`, where it is known.
    pub event_type: Option<&'a str>,
    /// Bytes of the value.
    pub body_size_bytes: usize,
    /// Milliseconds from the record's timestamp to its receipt, without the processing.
    pub receive_latency_ms: Option<f64>,
    /// How often it had been tried before.
    pub retry_count: u32,
    /// The consumer group.
    pub consumer_group: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

/// A record on its way to Kafka: child of whatever caused it.
pub fn queue_publish(attrs: &PublishAttrs<'_>) -> Span {
    tracing::info_span!(
        "queue.publish",
        otel.name = attrs.destination,
        otel.kind = "producer",
        sentry.op = "queue.publish",
        sentry.source = "task",
        sentry.origin = "auto.queue.kafka",
        messaging.system = "kafka",
        messaging.operation.type = "send",
        messaging.operation.name = "publish",
        messaging.destination.name = attrs.destination,
        messaging.message.id = attrs.message_id,
        messaging.message.body.size = int(attrs.body_size_bytes),
        event.type = attrs.event_type,
    )
}

/// One record in its handler: a transaction of its own, child of the `queue.publish` that `parent` names.
pub fn queue_process(attrs: &ProcessAttrs<'_>, parent: &Context) -> Span {
    let span = tracing::info_span!(
        parent: None,
        "queue.process",
        otel.name = attrs.destination,
        otel.kind = "consumer",
        sentry.op = "queue.process",
        sentry.source = "task",
        sentry.origin = "auto.queue.kafka",
        messaging.system = "kafka",
        messaging.operation.type = "process",
        messaging.operation.name = "process",
        messaging.destination.name = attrs.destination,
        messaging.message.id = attrs.message_id,
        messaging.message.body.size = int(attrs.body_size_bytes),
        messaging.message.receive.latency = attrs.receive_latency_ms,
        messaging.message.retry.count = i64::from(attrs.retry_count),
        messaging.consumer.group.name = attrs.consumer_group,
        messaging.destination.partition.id = attrs.partition.to_string(),
        messaging.kafka.offset = attrs.offset,
        event.type = attrs.event_type,
    );
    adopt(&span, parent);
    span
}

/// A span that is a part of a transaction, and none outside of one, as with Sentry's other SDKs: a sweeper that looks once a
/// second and finds nothing would fill the list of transactions with its queries.
macro_rules! part_span {
    ($($fields:tt)*) => {
        if Span::current().is_none() { Span::none() } else { tracing::info_span!($($fields)*) }
    };
}

/// A database operation.
///
/// `description_json` is the query as JSON with `"?"` for every value
/// (`{"find":"wallets","filter":{"_id":"?"}}`): without all of these the Queries page shows nothing.
/// No span outside of a transaction; the same holds for the cache.
pub fn db(system: &str, namespace: &str, collection: &str, operation: &str, description_json: &str) -> Span {
    part_span!(
        "db",
        otel.name = description_json,
        otel.kind = "client",
        sentry.op = "db",
        sentry.origin = "auto.db",
        db.system = system,
        db.system.name = system,
        db.namespace = namespace,
        db.name = namespace,
        db.operation = operation,
        db.operation.name = operation,
        db.collection.name = collection,
    )
}

/// A read of the cache; say with [`set_attr`] and [`names::CACHE_HIT`] whether it hit.
pub fn cache_get(key: &str) -> Span {
    let span = part_span!(
        "cache.get",
        otel.name = key,
        otel.kind = "client",
        sentry.op = "cache.get",
        sentry.origin = "auto.cache.redis",
        db.system = "redis",
    );
    set_cache_key(&span, key);
    span
}

/// A write to the cache.
pub fn cache_put(key: &str, size_bytes: usize) -> Span {
    let span = part_span!(
        "cache.put",
        otel.name = key,
        otel.kind = "client",
        sentry.op = "cache.put",
        sentry.origin = "auto.cache.redis",
        db.system = "redis",
        cache.item_size = int(size_bytes),
    );
    set_cache_key(&span, key);
    span
}

/// A removal from the cache.
pub fn cache_remove(key: &str) -> Span {
    let span = part_span!(
        "cache.remove",
        otel.name = key,
        otel.kind = "client",
        sentry.op = "cache.remove",
        sentry.origin = "auto.cache.redis",
        db.system = "redis",
    );
    set_cache_key(&span, key);
    span
}

/// A step of our own worth seeing in the trace.
pub fn function(name: &str) -> Span {
    tracing::info_span!("function", otel.name = name, sentry.op = "function", sentry.origin = "manual")
}

/// Work for nobody in particular (a sweep, a rollup): a transaction of its own, linked to the traces it serves.
pub fn background(name: &str, links: impl IntoIterator<Item = SpanContext>) -> Span {
    let span = tracing::info_span!(
        parent: None,
        "background",
        otel.name = name,
        sentry.op = "function",
        sentry.source = "task",
        sentry.origin = "manual",
    );
    // at most what one OpenTelemetry span may hold; the others would be dropped there without a word
    for link in links.into_iter().take(LINKS_MAX) {
        span.add_link(link);
    }
    span
}

/// Links that one span may carry.
pub const LINKS_MAX: usize = 128;

/// Work done later on behalf of a stored trace (a relay for a dead handler): a transaction of its own, child of `parent`.
pub fn continued(name: &str, parent: &Context) -> Span {
    let span = background(name, []);
    adopt(&span, parent);
    span
}

/// Makes `span`, not started yet, the child of what `parent` carries.
fn adopt(span: &Span, parent: &Context) {
    // refused only when telemetry is off or the span has begun; both leave a span that stands alone, which is right
    span.set_parent(parent.clone()).ok();
}

fn set_cache_key(span: &Span, key: &str) {
    // a `tracing` field cannot hold an array, and the Caches page wants one
    span.set_attribute(
        names::CACHE_KEY,
        Value::Array(Array::String(vec![StringValue::from(key.to_owned())])),
    );
}

/// Sets an attribute by its name in [`crate::attributes`].
pub fn set_attr(span: &Span, name: &'static str, value: impl Into<Value>) {
    span.set_attribute(name, value.into());
}

/// The work succeeded (also what an untouched span says).
pub fn set_ok(span: &Span) {
    set_status(span, Status::Ok);
}

/// The work failed, in Sentry's words.
pub fn set_error(span: &Span, status: Status) {
    set_status(span, status);
}

/// Ends a span now, though something may still hold it.
///
/// A `tracing` span lives as long as any child or task does, and a request is over when it is answered. What is said about it later is lost; children that end later are not.
pub fn end(span: &Span) {
    span.context().span().end();
}

/// Sets the status; the last one set wins.
pub fn set_status(span: &Span, status: Status) {
    span.set_attribute(names::SENTRY_STATUS, status.as_str());
}

/// The trace that is active here, as 32 hex digits.
pub fn trace_id() -> Option<String> {
    let context = Context::current();
    let active = context.span();
    let span_context = active.span_context();
    span_context.is_valid().then(|| span_context.trace_id().to_string())
}

/// The position of a span in its trace: what another trace links to.
pub fn span_context(span: &Span) -> SpanContext {
    span.context().span().span_context().clone()
}

fn int(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
