//! Names of the Kafka headers, once for everybody: CloudEvents binary mode, trace context, dead letters; and which one of
//! several counts.
//!
//! The rule is Kafka's own (`lastHeader`): of several headers of one name the LAST valid one counts, because whoever
//! forwards a record or instruments a producer appends. Names are compared byte for byte.

use bytes::Bytes;

/// The identity that tells a duplicate.
pub const CE_ID: &str = "ce_id";
/// The event type, `casino.<area>.v1.<Name>`.
pub const CE_TYPE: &str = "ce_type";
/// Which part made the event.
pub const CE_SOURCE: &str = "ce_source";
/// When the event was made, RFC 3339.
pub const CE_TIME: &str = "ce_time";
/// The player's id.
pub const CE_SUBJECT: &str = "ce_subject";
/// Always [`SPEC_VERSION`].
pub const CE_SPECVERSION: &str = "ce_specversion";
/// The id of the event this one follows from.
pub const CE_CAUSATIONID: &str = "ce_causationid";
/// The hash of the client request that a command carries.
pub const CE_REQUESTHASH: &str = "ce_requesthash";
/// CloudEvents' tracing extension: the trace in which the event was made.
pub const CE_TRACEPARENT: &str = "ce_traceparent";
/// CloudEvents' tracing extension: vendors' additions.
pub const CE_TRACESTATE: &str = "ce_tracestate";
/// What every CloudEvents header begins with.
pub const CE_PREFIX: &str = "ce_";
/// The version of CloudEvents we speak.
pub const SPEC_VERSION: &str = "1.0";

/// How the value is encoded.
pub const CONTENT_TYPE: &str = "content-type";
/// [`CONTENT_TYPE`] of a protobuf value.
pub const APPLICATION_PROTOBUF: &str = "application/protobuf";
/// [`CONTENT_TYPE`] of a JSON value in binary mode.
pub const APPLICATION_JSON: &str = "application/json";
/// [`CONTENT_TYPE`] of a CloudEvent in structured mode.
pub const APPLICATION_CLOUDEVENTS_JSON: &str = "application/cloudevents+json";

/// W3C trace context: which span this record was published in.
pub const TRACEPARENT: &str = "traceparent";
/// W3C trace context: vendors' additions.
pub const TRACESTATE: &str = "tracestate";
/// W3C baggage; may occur several times.
pub const BAGGAGE: &str = "baggage";
/// Sentry's own form of the trace context.
pub const SENTRY_TRACE: &str = "sentry-trace";

/// What every header begins with that a dead letter is given.
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
/// The class of the error, `poison`, `transient` or `fatal`.
pub const DLQ_ERROR_CLASS: &str = "dlq-error-class";
/// What was wrong, bounded, without payload.
pub const DLQ_ERROR_MESSAGE: &str = "dlq-error-message";
/// How often it was tried.
pub const DLQ_ATTEMPTS: &str = "dlq-attempts";
/// When it was parked, RFC 3339.
pub const DLQ_AT: &str = "dlq-failed-at";
/// How many bytes the value had, on a dead letter that was too large for its topic: only their beginning is there.
pub const DLQ_VALUE_TRUNCATED: &str = "dlq-value-truncated";
/// How many headers are missing, on such a dead letter.
pub const DLQ_HEADERS_DROPPED: &str = "dlq-headers-dropped";
/// How many bytes the key had, on such a dead letter: it has none.
pub const DLQ_KEY_DROPPED: &str = "dlq-key-dropped";
/// What says of a dead letter that it is not the whole record.
pub const DLQ_CUTS: [&str; 3] = [DLQ_VALUE_TRUNCATED, DLQ_HEADERS_DROPPED, DLQ_KEY_DROPPED];

/// The last header of this name; `None` where there is none.
pub fn last<'a>(pairs: &'a [(String, Bytes)], name: &str) -> Option<&'a Bytes> {
    pairs.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
}

/// The last header of this name that `check` takes; where it takes none, why it refused the last one; `None` where there
/// is no header of this name.
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

/// Whether the codec leaves this header's size and number alone: trace headers and CloudEvents' tracing extension, damaged
/// ones too, are telemetry's to judge and never refuse a record; a dead letter carries more headers than the record that it
/// was.
pub(crate) fn is_exempt(name: &str) -> bool {
    let trace = [TRACEPARENT, TRACESTATE, BAGGAGE, SENTRY_TRACE, CE_TRACEPARENT, CE_TRACESTATE];
    name.starts_with(DLQ_PREFIX) || trace.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Most headers a record may carry, trace headers and those of dead letters apart.
pub const COUNT_MAX: usize = 64;
/// Longest header name.
pub const NAME_BYTES_MAX: usize = 128;
/// Longest header value.
pub const VALUE_BYTES_MAX: usize = 8_192;
/// Most bytes of all names and values together.
pub const TOTAL_BYTES_MAX: usize = 32_768;
