//! Names of span attributes. Sentry's pages and detectors filter by these exact strings.
//!
//! The bridge reads most `sentry.*` names itself and does not send them as data. A name that neither Sentry's conventions nor
//! OpenTelemetry define begins with `pitboss.`. The writer adds this prefix to every such name.

pub(crate) mod wire;

/// Kind of work of a span (`queue.publish`, `db`, `cache.get`, …). A span without it is not exported.
pub const SENTRY_OP: &str = "sentry.op";
/// Description of the work. On the local root it is the transaction's name.
pub const SENTRY_DESCRIPTION: &str = "sentry.description";
/// A Sentry status name. The last one set wins, which OpenTelemetry's own status does not allow, so it is not used.
pub const SENTRY_STATUS: &str = "sentry.status";
/// The instrumentation that created the span (`auto.http.server`, …).
pub const SENTRY_ORIGIN: &str = "sentry.origin";
/// Source of the transaction's name (`route`, `task`, `custom`, …).
pub const SENTRY_SOURCE: &str = "sentry.source";
/// Set on every span. The value `static` means that the span is sent with its transaction, and `stream` that it is sent by itself.
pub const SENTRY_TRACE_LIFECYCLE: &str = "sentry.trace_lifecycle";
/// Id of the continuous profile that ran when the span began.
pub const SENTRY_PROFILER_ID: &str = "sentry.profiler_id";
/// The thread on which a span of a profiled process began, as the samples of the profile name it.
pub const THREAD_ID: &str = "thread.id";
/// Name of that thread.
pub const THREAD_NAME: &str = "thread.name";
/// Set on every link: the relation between the two spans.
pub const SENTRY_LINK_TYPE: &str = "sentry.link.type";

/// Prefix of the attribute of a flag that acted on the span's work ([`crate::flags`]). The flag's id follows.
pub const FLAG_EVALUATION: &str = "flag.evaluation.";

/// Name of an error event's context that lists its flags.
pub(crate) const FLAG_CONTEXT: &str = "flags";

/// The attribute for a log line's span in SDKs of an older specification. The SDK has no field for its successor `span_id`,
/// which the writer adds.
pub(crate) const PARENT_SPAN_ID: &str = "sentry.trace.parent_span_id";

/// The player's id. No other personal data is ever an attribute.
pub const USER_ID: &str = "user.id";

/// `kafka`.
pub const MESSAGING_SYSTEM: &str = "messaging.system";
/// The topic.
pub const MESSAGING_DESTINATION_NAME: &str = "messaging.destination.name";
/// The partition, as text because the conventions require it.
pub const MESSAGING_DESTINATION_PARTITION_ID: &str = "messaging.destination.partition.id";
/// The event's `ce_id`.
pub const MESSAGING_MESSAGE_ID: &str = "messaging.message.id";
/// Size of the value in bytes.
pub const MESSAGING_MESSAGE_BODY_SIZE: &str = "messaging.message.body.size";
/// Whole milliseconds from publish to receipt, without the processing. Absent if the clocks disagree.
pub const MESSAGING_MESSAGE_RECEIVE_LATENCY: &str = "messaging.message.receive.latency";
/// Number of earlier attempts to process or publish this message.
pub const MESSAGING_MESSAGE_RETRY_COUNT: &str = "messaging.message.retry.count";
/// The consumer group.
pub const MESSAGING_CONSUMER_GROUP_NAME: &str = "messaging.consumer.group.name";
/// Class of the error that made this operation fail, or that caused it (the class of a dead letter).
pub const ERROR_TYPE: &str = "error.type";
/// The offset inside its partition.
pub const MESSAGING_KAFKA_OFFSET: &str = "messaging.kafka.offset";
/// Type of the published or processed event, as `casino.<area>.v1.<Type>`.
pub const EVENT_TYPE: &str = "pitboss.event.type";

/// True if a `cache.get` found its key.
pub const CACHE_HIT: &str = "cache.hit";
/// The keys, always an array of strings.
pub const CACHE_KEY: &str = "cache.key";
/// Size of the value in bytes.
pub const CACHE_ITEM_SIZE: &str = "cache.item_size";
/// Seconds to live.
pub const CACHE_TTL: &str = "cache.ttl";

/// Status code of the response. The bridge derives the span's status from it if none was set.
pub const HTTP_RESPONSE_STATUS_CODE: &str = "http.response.status_code";
/// Number of operations of different callers in one command of the database. Absent if it is one.
pub const DB_OPERATION_BATCH_SIZE: &str = "db.operation.batch.size";
/// Number of documents that a read of several documents returned.
pub const DB_RESPONSE_RETURNED_ROWS: &str = "db.response.returned_rows";

/// Returns every name under which a log field or metric label may be sent to Sentry. The type of its value selects one of them.
#[must_use]
pub fn sent_names(field: &str) -> Vec<String> {
    wire::names_of_field(field)
}
