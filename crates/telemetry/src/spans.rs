//! Constructors of spans, one per kind of work, with exactly the names that Sentry's pages filter by.
//!
//! A span made here is exported; any other `tracing` span is not (it has no `sentry.op`). The op says what kind of work it
//! is, the description what exactly; the stock bridge sets both to the span's name, and every page stays empty.

use std::borrow::Cow;

use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use opentelemetry::{Array, Context, KeyValue, StringValue, Value};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::attributes as names;

mod status;
mod unfinished;
pub use status::Status;
pub use unfinished::{Unfinished, unfinished};

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
    /// Milliseconds from the record's timestamp to its receipt, without the processing; `None` where the clocks disagree. Told
    /// in whole milliseconds, and not at all when it is below zero or longer than a day.
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
        pitboss.event.type = attrs.event_type,
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
///
/// What is told of a key is what kind it is ([`key_kind`]): the rest may be a credential, as a session's id is.
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

/// A cache key without the id in it: `session:?` of `session:4f1c…`. A key that is one plain word is its own kind.
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
        add_origin(&span, link);
    }
    span
}

/// Links a span to the one whose message it works on, without being its child: a batch, a replay.
pub fn add_origin(span: &Span, origin: SpanContext) {
    span.add_link_with_attributes(origin, vec![KeyValue::new(names::SENTRY_LINK_TYPE, "message_origin")]);
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

/// Sets the status; the last one set wins, however often it was set before.
pub fn set_status(span: &Span, status: Status) {
    crate::bridge::set_status(span.context().span().span_context().span_id(), status);
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

/// A latency as the conventions have it, an integer; one that cannot be is not told.
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
    fn a_cache_key_is_told_without_its_id() {
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
    fn a_latency_is_whole_and_never_absurd() {
        for (latency_ms, told) in [
            (1.5, Some(2)),
            (0.0, Some(0)),
            (0.4, Some(0)),
            (-0.1, None),
            (f64::NAN, None),
            (f64::INFINITY, None),
            (1.7e12, None),
        ] {
            assert_eq!(whole_ms(latency_ms), told, "{latency_ms}");
        }
    }
}
