//! librdkafka's settings, in one place: what its defaults get wrong for us, and why.

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;

use crate::config::Config;

/// A batch of several records is no larger than the largest record may be; half of what the topics take.
const BATCH_BYTES_MAX: usize = contracts::topics::RECORD_BYTES_MAX;

/// The codecs that librdkafka has to be built with.
const CODECS: &str = "gzip,snappy,lz4,zstd";
/// A fetch and what is unpacked of it: a batch that would be larger than this is one that cannot be read. (librdkafka holds only
/// zstd to the second.)
const RECEIVE_BYTES_MAX: usize = 16_777_216;
/// A dead letter before it is compressed: more than what can be read, with its headers.
const LETTER_BYTES_MAX: usize = 2 * RECEIVE_BYTES_MAX;

/// What every client shares.
fn base(config: &Config) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        // one of the two names for this, never both: which one wins is undefined
        .set("bootstrap.servers", &config.bootstrap_servers)
        .set("client.id", &config.client_id)
        // every codec that a stock producer offers: a build without one refuses to start, instead of fetching a batch for ever
        .set("builtin.features", CODECS)
        .set("allow.auto.create.topics", "false")
        // a bet waits behind each small packet
        .set("socket.nagle.disable", "true")
        // the default of 5 minutes hides a topic that was created after us
        .set("topic.metadata.refresh.interval.ms", "10000")
        .set("reconnect.backoff.max.ms", "2000")
        .set_log_level(RDKafkaLogLevel::Warning);
    client
}

/// Awaited, idempotent, on the partition that Java tools would choose.
pub(crate) fn producer(config: &Config) -> ClientConfig {
    let mut client = base(config);
    client
        .set("enable.idempotence", "true")
        .set("acks", "all")
        // librdkafka's own default hashes with CRC32: a key of the console would land elsewhere
        .set("partitioner", "murmur2_random")
        // a bet's record travels alone: to compress a few hundred bytes costs four times (twice here, in the broker, and at each
        // reader) and saves nothing
        .set("compression.type", "none")
        .set("linger.ms", config.linger_ms.to_string())
        .set("message.timeout.ms", config.message_timeout_ms.to_string())
        // far more than a record of ours has; the broker enforces each topic's own limit
        .set("message.max.bytes", "2097152")
        // a batch is refused as a whole, so that one of many small records must stay below the smallest topic's limit
        .set("batch.size", BATCH_BYTES_MAX.to_string())
        .set("queue.buffering.max.messages", "10000")
        .set("queue.buffering.max.kbytes", "16384");
    client
}

/// Of dead letters: compressed, because what its producer compressed may not fit into the dead-letter topic otherwise. lz4, for
/// librdkafka unpacks it whatever comes out, while of zstd it gives up below what it may receive.
pub(crate) fn letters(config: &Config) -> ClientConfig {
    let mut client = producer(config);
    client
        .set("compression.type", "lz4")
        .set("message.max.bytes", LETTER_BYTES_MAX.to_string())
        // a record that is larger than the queue would wait for ever for room in it
        .set("queue.buffering.max.kbytes", (2 * LETTER_BYTES_MAX / 1_024).to_string());
    client
}

/// A consumer that never fetches far ahead and never commits by itself.
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
        // with the small queue above, the default of a second would be a second of latency
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.error.backoff.ms", "100")
        .set("check.crcs", "true");
    client
}

/// How often a reader says how far it is: by this a partition is found that stands though there is something to read.
const STATISTICS_INTERVAL_MS: &str = "1000";

/// A member of a group.
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

/// A reader outside every group. librdkafka wants a group name even for `assign`; nothing is ever committed under it.
pub(crate) fn outsider(config: &Config) -> ClientConfig {
    let mut client = fetching(config);
    client.set("group.id", nobody(config)).set("statistics.interval.ms", STATISTICS_INTERVAL_MS);
    client
}

/// Asks about partitions and groups without joining any. It sees what is not committed yet: the end of a partition is its
/// high watermark, and an open transaction is lag.
pub(crate) fn observer(config: &Config, group: &str) -> ClientConfig {
    let mut client = fetching(config);
    client.set("group.id", group).set("isolation.level", "read_uncommitted");
    client
}

/// The group name where no group is meant.
pub(crate) fn nobody(config: &Config) -> String {
    format!("{}.outside", config.client_id)
}

/// Administration.
pub(crate) fn admin(config: &Config) -> ClientConfig {
    base(config)
}

/// librdkafka's own log goes where ours goes. Its errors are about connections that it repairs by itself, so they warn.
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

/// For clients whose caller tells what failed: they only log for whoever works on the code.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(kafka.facility = facility, "librdkafka: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(kafka.error = %error, "the Kafka client reports: {reason}");
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
    tracing::warn!(kafka.error = %error, "the Kafka client reports: {reason}");
}

#[cfg(test)]
mod tests {
    use rdkafka::consumer::BaseConsumer;

    use super::*;

    #[test]
    fn the_client_has_every_codec_of_a_stock_producer_and_would_not_start_without_one() {
        let client = base(&Config::default());
        assert!(client.create::<BaseConsumer>().is_ok());
        let mut without = client;
        without.set("builtin.features", "gzip,snappy,lz4,zstd,sasl_gssapi"); // one that this build has not
        assert!(without.create::<BaseConsumer>().is_err());
    }
}
