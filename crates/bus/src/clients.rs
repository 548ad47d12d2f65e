//! librdkafka's settings for every client, with the reason for each deviation from its defaults.

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;

use crate::config::Config;

/// Maximum size of a batch of several records. It equals the largest allowed record, half of the topics' limit.
const BATCH_BYTES_MAX: usize = contracts::topics::RECORD_BYTES_MAX;

/// Codecs that librdkafka must be built with.
const CODECS: &str = "gzip,snappy,lz4,zstd";
/// librdkafka's debug context with the line about a repeated publish, which `producer/retries.rs` reads.
const RETRIES_CONTEXT: &str = "eos";
/// Maximum size of a fetch response and of its decompressed content. A batch that decompresses to more is unreadable. (librdkafka
/// enforces the second limit only for zstd.)
const RECEIVE_BYTES_MAX: usize = 16_777_216;
/// Maximum size of a dead letter before compression: more than the largest readable record with its headers.
const DEAD_LETTER_BYTES_MAX: usize = 2 * RECEIVE_BYTES_MAX;

/// Settings of every client.
fn base(config: &Config) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        // Do not also set its alias `metadata.broker.list`: the precedence is undefined
        .set("bootstrap.servers", &config.bootstrap_servers)
        .set("client.id", &config.client_id)
        // Every codec of a stock producer: a build without one fails at start, instead of fetching a batch forever
        .set("builtin.features", CODECS)
        .set("allow.auto.create.topics", "false")
        // Nagle's algorithm would delay the small packets of a bet
        .set("socket.nagle.disable", "true")
        // The default of 5 minutes delays the discovery of topics that are created later
        .set("topic.metadata.refresh.interval.ms", "10000")
        .set("reconnect.backoff.max.ms", "2000")
        .set_log_level(RDKafkaLogLevel::Warning);
    client
}

/// Settings of the producer: acknowledged by all replicas, idempotent, partitioned like Java's tools.
pub(crate) fn producer(config: &Config) -> ClientConfig {
    let mut client = base(config);
    client
        .set("enable.idempotence", "true")
        .set("acks", "all")
        // librdkafka's default hashes keys with CRC32, so the console tools would use another partition for the same key
        .set("partitioner", "murmur2_random")
        // A bet's record is sent alone. Compressing a few hundred bytes saves nothing and costs CPU four times: twice here, once
        // in the broker and once at each reader.
        .set("compression.type", "none")
        .set("linger.ms", config.linger_ms.to_string())
        .set("message.timeout.ms", config.message_timeout_ms.to_string())
        // Far larger than our records, because the broker enforces each topic's own limit
        .set("message.max.bytes", "2097152")
        // The broker rejects a batch as a whole, so a batch of small records must stay below the smallest topic's limit
        .set("batch.size", BATCH_BYTES_MAX.to_string())
        .set("queue.buffering.max.messages", "10000")
        .set("queue.buffering.max.kbytes", "16384");
    if config.publish_retries_shown {
        // Tells which publishes were repeated; otherwise it logs only while the producer gets its id
        client.set("debug", RETRIES_CONTEXT).set_log_level(RDKafkaLogLevel::Debug);
    }
    client
}

/// Settings of the dead-letter producer. It compresses, because a record that its producer compressed may not fit otherwise. It
/// uses lz4, because librdkafka decompresses lz4 to any size, but may give up on zstd even below its receive limit.
pub(crate) fn dead_letters(config: &Config) -> ClientConfig {
    let mut client = producer(config);
    client
        .set("compression.type", "lz4")
        .set("message.max.bytes", DEAD_LETTER_BYTES_MAX.to_string())
        // A record larger than the queue would wait forever for space
        .set("queue.buffering.max.kbytes", (2 * DEAD_LETTER_BYTES_MAX / 1_024).to_string());
    client
}

/// Settings of a reader that prefetches little and never commits by itself.
fn fetching(config: &Config) -> ClientConfig {
    let mut client = base(config);
    client
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("queued.max.messages.kbytes", config.prefetch_kbytes_max.to_string())
        .set("queued.min.messages", "1000")
        .set("fetch.max.bytes", "4194304")
        .set("receive.message.max.bytes", RECEIVE_BYTES_MAX.to_string())
        .set("fetch.min.bytes", config.fetch_min_bytes.to_string())
        .set("fetch.wait.max.ms", config.fetch_wait_max_ms.to_string())
        // With the small queue above, the default of one second would add a second of latency
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.error.backoff.ms", "100")
        .set("check.crcs", "true");
    client
}

/// Statistics interval of readers. The statistics reveal a partition that makes no progress although it has unread records.
const STATISTICS_INTERVAL_MS: &str = "1000";

/// Settings of a group member.
pub(crate) fn member(config: &Config, group: &str) -> ClientConfig {
    let mut client = fetching(config);
    client.set("statistics.interval.ms", STATISTICS_INTERVAL_MS);
    client
        .set("group.id", group)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", config.session_timeout_ms.to_string())
        .set("heartbeat.interval.ms", config.heartbeat_interval_ms.to_string());
    if let Some(instance) = &config.group_instance_id {
        client.set("group.instance.id", instance);
    }
    client
}

/// Settings of a reader without a group. librdkafka requires a group name even for `assign`, but nothing is committed under it.
pub(crate) fn outsider(config: &Config) -> ClientConfig {
    let mut client = fetching(config);
    client.set("group.id", outsider_group(config)).set("statistics.interval.ms", STATISTICS_INTERVAL_MS);
    client
}

/// Settings of a client that reads the state of partitions and groups without joining. It also sees uncommitted records, so a
/// partition ends at its high watermark and an open transaction counts as lag.
pub(crate) fn observer(config: &Config, group: &str) -> ClientConfig {
    let mut client = fetching(config);
    client.set("group.id", group).set("isolation.level", "read_uncommitted");
    client
}

/// Group name of clients outside every group.
pub(crate) fn outsider_group(config: &Config) -> String {
    format!("{}.outside", config.client_id)
}

/// Settings of the administration client.
pub(crate) fn admin(config: &Config) -> ClientConfig {
    base(config)
}

/// Writes librdkafka's log to ours. Its errors are logged as warnings, because it recovers from most lost connections by itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Logged;

impl ClientContext for Logged {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }
}

/// For clients whose caller reports failures. Logs only at debug level.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(kafka.facility = facility, "librdkafka: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(error = %error, "the Kafka client reported an error: {reason}");
    }
}

impl rdkafka::consumer::ConsumerContext for Quiet {}

pub(crate) fn log_line(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Debug | RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => {
            tracing::debug!(kafka.facility = facility, "librdkafka: {message}");
        }
        _ => tracing::warn!(kafka.facility = facility, "librdkafka: {message}"),
    }
}

pub(crate) fn log_error(error: &KafkaError, reason: &str) {
    tracing::warn!(error = %error, "the Kafka client reported an error: {reason}");
}

#[cfg(test)]
mod tests {
    use rdkafka::consumer::BaseConsumer;

    use super::*;

    #[test]
    fn client_has_every_codec_of_a_stock_producer() {
        let client = base(&Config::default());
        assert!(client.create::<BaseConsumer>().is_ok());
        let mut without = client;
        without.set("builtin.features", "gzip,snappy,lz4,zstd,sasl_gssapi"); // not in this build
        assert!(without.create::<BaseConsumer>().is_err());
    }

    #[test]
    fn producer_debugs_only_where_its_retries_are_shown() {
        let shown = Config { publish_retries_shown: true, ..Config::default() };
        for settings in [producer, dead_letters] {
            assert_eq!(settings(&Config::default()).get("debug"), None);
            assert_eq!(settings(&shown).get("debug"), Some(RETRIES_CONTEXT));
        }
    }
}
