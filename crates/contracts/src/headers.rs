//! Names of all Kafka headers (CloudEvents binary mode, trace context, dead letters) and the rule for duplicates.
//!
//! Of several headers of one name the LAST valid one counts, as in Kafka's own `lastHeader`. The reason is that a
//! process that forwards a record or instruments a producer appends its header. Names are compared byte for byte.

use bytes::Bytes;

/// The identity by which consumers recognise a duplicate.
pub const CE_ID: &str = "ce_id";
/// The event type, `casino.<area>.v1.<Name>`.
pub const CE_TYPE: &str = "ce_type";
/// The part that created the event.
pub const CE_SOURCE: &str = "ce_source";
/// Time of the event's creation, RFC 3339.
pub const CE_TIME: &str = "ce_time";
/// The player's id.
pub const CE_SUBJECT: &str = "ce_subject";
/// Always [`SPEC_VERSION`].
pub const CE_SPECVERSION: &str = "ce_specversion";
/// The id of the event that caused this one.
pub const CE_CAUSATIONID: &str = "ce_causationid";
/// The hash of the client request that a command carries.
pub const CE_REQUESTHASH: &str = "ce_requesthash";
/// CloudEvents' tracing extension: the trace in which the event was created.
pub const CE_TRACEPARENT: &str = "ce_traceparent";
/// CloudEvents' tracing extension: additions of tracing vendors.
pub const CE_TRACESTATE: &str = "ce_tracestate";
/// Prefix of every CloudEvents header.
pub const CE_PREFIX: &str = "ce_";
/// The supported version of CloudEvents.
pub const SPEC_VERSION: &str = "1.0";

/// The encoding of the value.
pub const CONTENT_TYPE: &str = "content-type";
/// [`CONTENT_TYPE`] of a protobuf value.
pub const APPLICATION_PROTOBUF: &str = "application/protobuf";
/// [`CONTENT_TYPE`] of a JSON value in binary mode.
pub const APPLICATION_JSON: &str = "application/json";
/// [`CONTENT_TYPE`] of a CloudEvent in structured mode.
pub const APPLICATION_CLOUDEVENTS_JSON: &str = "application/cloudevents+json";

/// W3C trace context: the span that published this record.
pub const TRACEPARENT: &str = "traceparent";
/// W3C trace context: additions of tracing vendors.
pub const TRACESTATE: &str = "tracestate";
/// W3C baggage. It may occur several times.
pub const BAGGAGE: &str = "baggage";
/// Sentry's form of the trace context.
pub const SENTRY_TRACE: &str = "sentry-trace";

/// Prefix of every header that moving a record to a retry or dead-letter topic adds.
pub const DLQ_PREFIX: &str = "dlq-";
/// The topic where a parked or retried record appeared first.
pub const DLQ_TOPIC: &str = "dlq-original-topic";
/// The partition where it appeared first.
pub const DLQ_PARTITION: &str = "dlq-original-partition";
/// The offset where it appeared first.
pub const DLQ_OFFSET: &str = "dlq-original-offset";
/// The broker's timestamp of the first appearance, in milliseconds since 1970.
pub const DLQ_TIMESTAMP_MS: &str = "dlq-original-timestamp";
/// The consumer group that gave up on it.
pub const DLQ_GROUP: &str = "dlq-consumer-group";
/// The service of that group.
pub const DLQ_SERVICE: &str = "dlq-service";
/// The class of the error: `undecodable`, `poison`, `panic` or `transient`.
pub const DLQ_ERROR_CLASS: &str = "dlq-error-class";
/// The error's text, of limited length and without payload.
pub const DLQ_ERROR_MESSAGE: &str = "dlq-error-message";
/// Number of attempts so far, also those before earlier moves to a retry topic.
pub const DLQ_ATTEMPTS: &str = "dlq-attempts";
/// Time of the last move to a retry or dead-letter topic, RFC 3339.
pub const DLQ_AT: &str = "dlq-failed-at";
/// Number of times that the record moved to a retry topic.
pub const DLQ_LAPS: &str = "dlq-retry-laps";
/// Time from which a record in a retry topic is handled again, in milliseconds since 1970.
pub const DLQ_DUE_MS: &str = "dlq-retry-due";
/// W3C trace context of the last move. The record's own trace headers stay.
///
/// In a retry topic it is the parent of the next attempt. In a dead-letter topic it is the trace that `dlq show` names for a record
/// without trace headers.
pub const DLQ_RETRY_TRACEPARENT: &str = "dlq-retry-traceparent";
/// Original size of the value in bytes, on a dead letter that was too large for its topic and holds only the beginning.
pub const DLQ_VALUE_TRUNCATED: &str = "dlq-value-truncated";
/// Number of missing headers on such a dead letter.
pub const DLQ_HEADERS_DROPPED: &str = "dlq-headers-dropped";
/// Original size of the key in bytes on such a dead letter, which has no key.
pub const DLQ_KEY_DROPPED: &str = "dlq-key-dropped";
/// Headers that mark a dead letter as an incomplete record.
pub const DLQ_CUTS: [&str; 3] = [DLQ_VALUE_TRUNCATED, DLQ_HEADERS_DROPPED, DLQ_KEY_DROPPED];

/// Returns the last header of this name.
pub fn last<'a>(pairs: &'a [(String, Bytes)], name: &str) -> Option<&'a Bytes> {
    pairs.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
}

/// Returns the last header of this name that `check` accepts. If it accepts none, returns the error for the last one.
/// Returns `None` if there is no header of this name.
pub fn last_valid<'a, T, E>(
    pairs: &'a [(String, Bytes)],
    name: &str,
    check: impl Fn(&'a [u8]) -> Result<T, E>,
) -> Option<Result<T, E>> {
    let mut refused = None;
    for (_, value) in pairs.iter().rev().filter(|(key, _)| key == name) {
        match check(value) {
            Ok(valid) => return Some(Ok(valid)),
            Err(error) => refused = refused.or(Some(Err(error))),
        }
    }
    refused
}

/// Returns true for headers that do not count towards the limits. Telemetry judges trace headers and CloudEvents' tracing
/// extension, so invalid ones never refuse a record. A dead letter carries more headers than its original record.
pub(crate) fn is_exempt(name: &str) -> bool {
    let trace = [TRACEPARENT, TRACESTATE, BAGGAGE, SENTRY_TRACE, CE_TRACEPARENT, CE_TRACESTATE];
    name.starts_with(DLQ_PREFIX) || trace.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Largest number of headers of a record, apart from trace headers and dead-letter headers.
pub const COUNT_MAX: usize = 64;
/// Longest header name.
pub const NAME_BYTES_MAX: usize = 128;
/// Longest header value.
pub const VALUE_BYTES_MAX: usize = 8_192;
/// Largest total size of all names and values.
pub const TOTAL_BYTES_MAX: usize = 32_768;
