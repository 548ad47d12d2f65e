//! Constructors of spans, one per kind of work, with exactly the names that Sentry's pages filter by.
//!
//! Only spans from this module are exported, because other `tracing` spans have no `sentry.op`. The op is the kind of work and
//! the description its details. The stock bridge sets both to the span's name, so every page stays empty.

use std::borrow::Cow;

use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use opentelemetry::{Array, Context, KeyValue, StringValue, Value};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::attributes as names;

mod unfinished;
pub use crate::status::Status;
pub use unfinished::{Unfinished, unfinished};

/// Facts about a published record.
#[derive(Debug, Clone, Copy, Default)]
pub struct PublishAttrs<'a> {
    /// The event's `ce_id`.
    pub message_id: &'a str,
    /// The topic.
    pub destination: &'a str,
    /// `casino.<area>.v1.<Type>`, if known.
    pub event_type: Option<&'a str>,
    /// Size of the value in bytes.
    pub body_size_bytes: usize,
}

/// Facts about a processed record.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessAttrs<'a> {
    /// The event's `ce_id`.
    pub message_id: &'a str,
    /// The topic.
    pub destination: &'a str,
    /// `casino.<area>.v1.<Type>`, if known.
    pub event_type: Option<&'a str>,
    /// Size of the value in bytes.
    pub body_size_bytes: usize,
    /// Milliseconds from publish to receipt, without the processing, or `None` if the clocks disagree. It is sent in whole
    /// milliseconds, and not sent if it is below zero or longer than a day.
    pub receive_latency_ms: Option<f64>,
    /// Number of earlier attempts.
    pub retry_count: u32,
    /// The consumer group.
    pub consumer_group: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

/// A publish to Kafka, as a child of the current span.
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
        pitboss.event.type = attrs.event_type,
    )
}

/// One record in its handler: a transaction, as a child of the `queue.publish` that `parent` names.
pub fn queue_process(attrs: &ProcessAttrs<'_>, parent: &Context) -> Span {
    // Without this task's current span as the parent, because `adopt` sets the one from the record's headers
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
        messaging.message.receive.latency = attrs.receive_latency_ms.and_then(whole_ms),
        messaging.message.retry.count = i64::from(attrs.retry_count),
        messaging.consumer.group.name = attrs.consumer_group,
        messaging.destination.partition.id = attrs.partition.to_string(),
        messaging.kafka.offset = attrs.offset,
        pitboss.event.type = attrs.event_type,
    );
    adopt(&span, parent);
    span
}

/// Creates a span inside a transaction, and no span outside of one, like Sentry's other SDKs. Otherwise the queries of a
/// sweeper that finds nothing every second would fill the list of transactions.
macro_rules! part_span {
    ($($fields:tt)*) => {
        if Span::current().is_none() { Span::none() } else { tracing::info_span!($($fields)*) }
    };
}

/// A database operation.
///
/// `description_json` is the query as JSON with `"?"` for every value (`{"find":"wallets","filter":{"_id":"?"}}`). Without all
/// of these fields the Queries page is empty. Outside of a transaction there is no span. The same is true for the cache.
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

/// A read of the cache. Report a hit or miss with [`set_attr`] and [`names::CACHE_HIT`].
///
/// The span contains only the kind of the key ([`key_kind`]), because the rest may be a credential, such as a session's id.
pub fn cache_get(key: &str) -> Span {
    let kind = key_kind(key);
    let span = part_span!(
        "cache.get",
        otel.name = kind.as_ref(),
        otel.kind = "client",
        sentry.op = "cache.get",
        sentry.origin = "auto.cache.redis",
        db.system = "redis",
        db.system.name = "redis",
    );
    set_cache_key(&span, &kind);
    span
}

/// A write to the cache.
pub fn cache_put(key: &str, size_bytes: usize) -> Span {
    let kind = key_kind(key);
    let span = part_span!(
        "cache.put",
        otel.name = kind.as_ref(),
        otel.kind = "client",
        sentry.op = "cache.put",
        sentry.origin = "auto.cache.redis",
        db.system = "redis",
        db.system.name = "redis",
        cache.item_size = int(size_bytes),
    );
    set_cache_key(&span, &kind);
    span
}

/// A removal from the cache.
pub fn cache_remove(key: &str) -> Span {
    let kind = key_kind(key);
    let span = part_span!(
        "cache.remove",
        otel.name = kind.as_ref(),
        otel.kind = "client",
        sentry.op = "cache.remove",
        sentry.origin = "auto.cache.redis",
        db.system = "redis",
        db.system.name = "redis",
    );
    set_cache_key(&span, &kind);
    span
}

/// The cache key without its id: `session:?` of `session:4f1c…`. A key of one plain word stays unchanged.
fn key_kind(key: &str) -> Cow<'_, str> {
    const WORD_BYTES_MAX: usize = 32;
    let is_word = |text: &str| {
        !text.is_empty()
            && text.len() <= WORD_BYTES_MAX
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'-' | b'.'))
    };
    match key.split_once(':') {
        Some((prefix, _)) if is_word(prefix) => Cow::Owned(format!("{prefix}:?")),
        None if is_word(key) => Cow::Borrowed(key),
        _ => Cow::Borrowed("?"),
    }
}

/// A step of Pitboss code that should be visible in the trace.
pub fn function(name: &str) -> Span {
    tracing::info_span!("function", otel.name = name, sentry.op = "function", sentry.origin = "manual")
}

/// Work without a single caller (a sweep, a rollup): a transaction, linked to the traces that it serves.
pub fn background(name: &str, links: impl IntoIterator<Item = SpanContext>) -> Span {
    let span = tracing::info_span!(
        parent: None,
        "background",
        otel.name = name,
        sentry.op = "function",
        sentry.source = "task",
        sentry.origin = "manual",
    );
    // At most as many as one OpenTelemetry span may hold, because the SDK would drop the others silently
    for link in links.into_iter().take(LINKS_MAX) {
        add_origin(&span, link);
    }
    span
}

/// Links a span to the one whose message it processes, for a batch or a replay. The span does not become its child.
pub fn add_origin(span: &Span, origin: SpanContext) {
    span.add_link_with_attributes(origin, vec![KeyValue::new(names::SENTRY_LINK_TYPE, "message_origin")]);
}

/// Largest number of links of one span.
pub const LINKS_MAX: usize = 128;

/// Later work for a stored trace (a relay for a dead handler): a transaction, as a child of `parent`.
pub fn continued(name: &str, parent: &Context) -> Span {
    let span = background(name, []);
    adopt(&span, parent);
    span
}

/// Makes the span in `parent` the parent of `span`, which must not have started yet.
fn adopt(span: &Span, parent: &Context) {
    // Refused only if telemetry is off or the span has begun, and a span without a parent is right in both cases
    span.set_parent(parent.clone()).ok();
}

fn set_cache_key(span: &Span, key: &str) {
    // A `tracing` field cannot hold an array, and the Caches page wants one
    span.set_attribute(
        names::CACHE_KEY,
        Value::Array(Array::String(vec![StringValue::from(key.to_owned())])),
    );
}

/// Sets an attribute by its name in [`crate::attributes`].
pub fn set_attr(span: &Span, name: &'static str, value: impl Into<Value>) {
    span.set_attribute(name, value.into());
}

/// Marks the work as successful, which is also the default.
pub fn set_ok(span: &Span) {
    set_status(span, Status::Ok);
}

/// Marks the work as failed with one of Sentry's statuses.
pub fn set_error(span: &Span, status: Status) {
    set_status(span, status);
}

/// Ends a span now, even if children or tasks still hold it. Later attributes are lost, but later children are not.
///
/// A `tracing` span lives as long as its last holder, but a request ends with its response.
pub fn end(span: &Span) {
    span.context().span().end();
}

/// Discards the transaction of an open span, with all its spans. They count as sampled out, because the sampler would have left them
/// out if it had known then what is known now.
pub(crate) fn discard(span: &Span) {
    crate::bridge::discard(span.context().span().span_context().span_id());
}

/// Sets the status. The last one set wins, after any number of earlier ones.
pub fn set_status(span: &Span, status: Status) {
    crate::bridge::set_status(span.context().span().span_context().span_id(), status);
}

/// The id of the active trace, as 32 hex digits.
pub fn trace_id() -> Option<String> {
    let context = Context::current();
    let active = context.span();
    let span_context = active.span_context();
    span_context.is_valid().then(|| span_context.trace_id().to_string())
}

/// The position of a span in its trace, as the target of links from other traces.
pub fn span_context(span: &Span) -> SpanContext {
    span.context().span().span_context().clone()
}

/// A latency as an integer, which the conventions require, or `None` if it is impossible.
fn whole_ms(latency_ms: f64) -> Option<i64> {
    const DAY_MS: f64 = 86_400_000.0;
    #[expect(clippy::cast_possible_truncation, reason = "from 0 to a day")]
    (0.0..=DAY_MS).contains(&latency_ms).then(|| latency_ms.round() as i64)
}

fn int(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_key_has_no_id() {
        for (key, kind) in [
            ("session:4f1c5a2b-0000-4000-8000-000000000000", "session:?"),
            ("rate:player:77", "rate:?"),
            ("games", "games"),
            ("4f1c5a2b", "?"),
            ("4f1c5a2b:session", "?"),
            (":x", "?"),
            ("", "?"),
        ] {
            assert_eq!(key_kind(key), kind, "{key:?}");
        }
    }

    #[test]
    fn latency_is_rounded_or_left_out() {
        for (latency_ms, expected) in [
            (1.5, Some(2)),
            (0.0, Some(0)),
            (0.4, Some(0)),
            (-0.1, None),
            (f64::NAN, None),
            (f64::INFINITY, None),
            (1.7e12, None),
        ] {
            assert_eq!(whole_ms(latency_ms), expected, "{latency_ms}");
        }
    }
}
