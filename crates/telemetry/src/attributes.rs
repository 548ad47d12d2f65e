//! Names of span attributes, in one place: Sentry's pages and detectors filter by these exact strings.
//!
//! The `sentry.*` ones steer the bridge and do not reach the wire as data. What neither Sentry's conventions nor OpenTelemetry
//! have stands under `pitboss.`; the writer sees to that for every name.

pub(crate) mod wire;

/// What kind of work a span is (`queue.publish`, `db`, `cache.get`, …); a span without it is not exported.
pub const SENTRY_OP: &str = "sentry.op";
/// What exactly was done; for the local root this is the transaction's name.
pub const SENTRY_DESCRIPTION: &str = "sentry.description";
/// A Sentry status name, the last one set wins. OpenTelemetry's own status cannot be lowered or corrected, so it is not used.
pub const SENTRY_STATUS: &str = "sentry.status";
/// Who made the span (`auto.http.server`, …).
pub const SENTRY_ORIGIN: &str = "sentry.origin";
/// Where the transaction's name comes from (`route`, `task`, `custom`, …).
pub const SENTRY_SOURCE: &str = "sentry.source";
/// On every span: ours go out with their transaction (`static`), not one by one.
pub const SENTRY_TRACE_LIFECYCLE: &str = "sentry.trace_lifecycle";
/// On every link: how the linked span came to this one.
pub const SENTRY_LINK_TYPE: &str = "sentry.link.type";

/// The player, by id; nothing else about a person is ever an attribute.
pub const USER_ID: &str = "user.id";

/// `kafka`.
pub const MESSAGING_SYSTEM: &str = "messaging.system";
/// The topic.
pub const MESSAGING_DESTINATION_NAME: &str = "messaging.destination.name";
/// The partition, as text (as the conventions have it).
pub const MESSAGING_DESTINATION_PARTITION_ID: &str = "messaging.destination.partition.id";
/// The event's `ce_id`.
pub const MESSAGING_MESSAGE_ID: &str = "messaging.message.id";
/// Bytes of the value.
pub const MESSAGING_MESSAGE_BODY_SIZE: &str = "messaging.message.body.size";
/// Whole milliseconds from publish to receipt, without the processing; absent where the clocks disagree.
pub const MESSAGING_MESSAGE_RECEIVE_LATENCY: &str = "messaging.message.receive.latency";
/// How often this message had been tried before.
pub const MESSAGING_MESSAGE_RETRY_COUNT: &str = "messaging.message.retry.count";
/// The consumer group.
pub const MESSAGING_CONSUMER_GROUP_NAME: &str = "messaging.consumer.group.name";
/// Which kind of error made this fail, or be needed (the class of a dead letter).
pub const ERROR_TYPE: &str = "error.type";
/// The offset inside its partition.
pub const MESSAGING_KAFKA_OFFSET: &str = "messaging.kafka.offset";
/// What was published or processed, as `casino.<area>.v1.<Type>`.
pub const EVENT_TYPE: &str = "pitboss.event.type";

/// Whether a `cache.get` found its key.
pub const CACHE_HIT: &str = "cache.hit";
/// The keys, always an array of strings.
pub const CACHE_KEY: &str = "cache.key";
/// Bytes of the value.
pub const CACHE_ITEM_SIZE: &str = "cache.item_size";
/// Seconds to live.
pub const CACHE_TTL: &str = "cache.ttl";

/// The answer's status code; the bridge derives the span's status from it when none was set.
pub const HTTP_RESPONSE_STATUS_CODE: &str = "http.response.status_code";
/// The documents that a database operation returned or touched.
pub const DB_RESPONSE_RETURNED_ROWS: &str = "db.response.returned_rows";
