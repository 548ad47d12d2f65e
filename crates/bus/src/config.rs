//! The settings of every Kafka client in a process.
//!
//! The defaults were measured. A setting exists only where two deployments, or a test, need different values.

use std::time::Duration;

use contracts::address::{is_host, is_port};
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

use crate::names::Names;

/// Shortest time that the breaker waits for records of other partitions, after a record failed that it tried.
const BREAKER_WAIT_MS_MIN: u64 = 2_000;

/// One process's Kafka settings: the `[kafka]` section of its configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `host:port[,host:port…]` of the brokers that a client contacts first. An invalid address is refused when it is read.
    #[serde(deserialize_with = "read_servers")]
    pub bootstrap_servers: String,
    /// Name of this process in the broker's logs, in group listings and in the `dlq-service` header.
    pub client_id: String,
    /// Prefix of every topic and group name, followed by a dot. Empty in production. Tests use it to share one broker.
    pub namespace: String,
    /// Stable member name (static membership). It must be unique in the group, else the broker fences one of the two members.
    pub group_instance_id: Option<String>,
    /// Session time-out: a member without a heartbeat for this long loses its partitions.
    pub session_timeout_ms: u32,
    /// Heartbeat interval, at most a third of the session time-out.
    pub heartbeat_interval_ms: u32,
    /// Time for which the producer collects a batch before sending. 0, because a bet waits for it.
    pub linger_ms: u32,
    /// Time after which an unacknowledged publish is given up with an unknown outcome.
    pub message_timeout_ms: u32,
    /// Marks publishes that librdkafka sent more than once (`messaging.message.retry.count`, `bus.publish.retried`). Only its
    /// debug log tells, so this is on only behind the proxy `wire`, where a fault loses acknowledgements.
    pub publish_retries_shown: bool,
    /// Maximum wait for space in the producer's queue before a publish is refused.
    pub queue_full_timeout_ms: u32,
    /// Maximum number of records handled concurrently. Records of one key are handled one after the other.
    pub lanes: usize,
    /// Number of records in flight at which this process stops fetching.
    pub in_flight_records_max: usize,
    /// Bytes of records in flight at which this process stops fetching.
    pub in_flight_bytes_max: usize,
    /// Prefetch buffer of librdkafka, on top of that. Its default of 64 MiB would be a service's whole memory allowance.
    pub prefetch_kbytes_max: u32,
    /// Minimum size of a fetch response. 1 where a client waits for the record. Larger elsewhere, because each response wakes
    /// broker and consumer, whether it holds one record or a hundred.
    pub fetch_min_bytes: u32,
    /// Maximum time for which the broker waits for that size. This is the most that it delays a record.
    pub fetch_wait_max_ms: u32,
    /// Interval between offset commits.
    pub commit_interval_ms: u64,
    /// Deadline of a commit, after which a hand-over or a shutdown continues without it.
    pub commit_deadline_ms: u64,
    /// Deadline for finishing the records in flight of revoked partitions.
    pub revoke_drain_deadline_ms: u64,
    /// Deadline for finishing the records in flight at shutdown.
    pub stop_drain_deadline_ms: u64,
    /// Deadline for the steps after that together: the last commit, the producer's flush, and leaving the group. What is not
    /// done then is abandoned, and unconfirmed records are redelivered.
    pub close_deadline_ms: u64,
    /// The process is stuck if an attempt runs longer, or a frontier with records in flight stands still for longer. An attempt that
    /// runs for a quarter of it is reported.
    pub stall_deadline_ms: u64,
    /// Backoff before the first retry of a transient failure.
    pub retry_backoff_min_ms: u64,
    /// Maximum backoff between two attempts.
    pub retry_backoff_max_ms: u64,
    /// Interval of reports about a record that keeps failing in its lane. A group never skips the record, a tail does after the
    /// first report.
    pub retry_alert_after_ms: u64,
    /// Attempts in its lane before a record moves to a retry topic. Only for groups that have retry topics
    /// ([`contracts::Group::uses_retry_topics`]).
    pub retry_in_place_max: u32,
    /// Time for which a record waits in a retry topic. It is equal for all records, so that the first one there is due first.
    pub retry_topic_delay_ms: u64,
    /// Number of times that a record may move to a retry topic. After that it becomes a dead letter.
    pub retry_topic_laps_max: u32,
    /// Number of handled records over which the share of dead letters is computed.
    pub breaker_window_records: usize,
    /// Share of dead letters among these, in percent, above which the consumer pauses.
    pub breaker_dead_letters_max_percent: usize,
    /// Duration of that pause. Then one record of each partition is handled, and its result decides how it continues.
    pub breaker_pause_ms: u64,
    /// Replication factor of the topics that [`crate::admin::ensure_topics`] creates. -1 uses the broker's default.
    pub replication_factor: i32,
}

/// Limits of the breaker on the share of dead letters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BreakerLimits {
    /// Number of records over which the share is computed.
    pub(crate) window_records: usize,
    /// Share of dead letters above which the breaker opens.
    pub(crate) dead_letters_max_percent: usize,
    /// Duration of the pause.
    pub(crate) pause: Duration,
    /// Time that a round waits for records of other partitions after its first failure. It is longer than a fetch takes.
    pub(crate) others_wait: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bootstrap_servers: "127.0.0.1:8120".to_owned(),
            client_id: "pitboss".to_owned(),
            namespace: String::new(),
            group_instance_id: None,
            session_timeout_ms: 6_000,
            heartbeat_interval_ms: 1_500,
            linger_ms: 0,
            message_timeout_ms: 30_000,
            publish_retries_shown: false,
            queue_full_timeout_ms: 1_000,
            lanes: 32,
            in_flight_records_max: 1_024,
            in_flight_bytes_max: 8 * 1024 * 1024,
            prefetch_kbytes_max: 4_096,
            fetch_min_bytes: 1,
            fetch_wait_max_ms: 500,
            commit_interval_ms: 1_000,
            commit_deadline_ms: 10_000,
            revoke_drain_deadline_ms: 10_000,
            stop_drain_deadline_ms: 2_000,
            close_deadline_ms: 2_000,
            stall_deadline_ms: 120_000,
            retry_backoff_min_ms: 50,
            retry_backoff_max_ms: 5_000,
            retry_alert_after_ms: 120_000,
            retry_in_place_max: 3,
            retry_topic_delay_ms: 5_000,
            retry_topic_laps_max: 12,
            breaker_window_records: 20,
            breaker_dead_letters_max_percent: 50,
            breaker_pause_ms: 10_000,
            replication_factor: -1,
        }
    }
}

impl Config {
    /// Returns every problem with these settings, so that all can be reported at once.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |holds: bool, message: &str| {
            if !holds {
                problems.push(message.to_owned());
            }
        };
        check(are_servers(&self.bootstrap_servers), &format!("kafka.bootstrap_servers {SERVERS_PROBLEM}"));
        check(!self.client_id.trim().is_empty(), "kafka.client_id is empty");
        check((1..=1_024).contains(&self.lanes), "kafka.lanes is not between 1 and 1024");
        check(
            self.heartbeat_interval_ms > 0
                && self.heartbeat_interval_ms.saturating_mul(3) <= self.session_timeout_ms,
            "kafka.heartbeat_interval_ms is not at most a third of kafka.session_timeout_ms",
        );
        check(self.in_flight_records_max >= 2, "kafka.in_flight_records_max is below 2");
        check(self.in_flight_bytes_max >= 1_024, "kafka.in_flight_bytes_max is below 1024");
        check(self.prefetch_kbytes_max >= 1, "kafka.prefetch_kbytes_max is 0");
        check(
            (1..=4 * 1_024 * 1_024).contains(&self.fetch_min_bytes),
            "kafka.fetch_min_bytes is not between 1 and 4194304",
        );
        check(
            (1..=10_000).contains(&self.fetch_wait_max_ms),
            "kafka.fetch_wait_max_ms is not between 1 and 10000",
        );
        check(self.commit_interval_ms >= 10, "kafka.commit_interval_ms is below 10");
        check(self.message_timeout_ms >= 100, "kafka.message_timeout_ms is below 100");
        check(self.stall_deadline_ms >= 100, "kafka.stall_deadline_ms is below 100");
        check(
            0 < self.retry_backoff_min_ms && self.retry_backoff_min_ms <= self.retry_backoff_max_ms,
            "kafka.retry_backoff_min_ms is not between 1 and kafka.retry_backoff_max_ms",
        );
        check(
            (1..=1_000).contains(&self.retry_in_place_max),
            "kafka.retry_in_place_max is not between 1 and 1000",
        );
        check(
            (1..=86_400_000).contains(&self.retry_topic_delay_ms),
            "kafka.retry_topic_delay_ms is not between 1 and 86400000",
        );
        check(self.retry_topic_laps_max <= 1_000, "kafka.retry_topic_laps_max is above 1000");
        check(
            (2..=100_000).contains(&self.breaker_window_records),
            "kafka.breaker_window_records is not between 2 and 100000",
        );
        check(
            (1..=100).contains(&self.breaker_dead_letters_max_percent),
            "kafka.breaker_dead_letters_max_percent is not between 1 and 100",
        );
        check(
            (1..=3_600_000).contains(&self.breaker_pause_ms),
            "kafka.breaker_pause_ms is not between 1 and 3600000",
        );
        check(
            self.namespace.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'),
            "kafka.namespace has characters other than letters, digits, - and _",
        );
        problems
    }

    pub(crate) fn names(&self) -> Names {
        Names::new(&self.namespace)
    }

    pub(crate) fn commit_interval(&self) -> Duration {
        Duration::from_millis(self.commit_interval_ms)
    }

    pub(crate) fn commit_deadline(&self) -> Duration {
        Duration::from_millis(self.commit_deadline_ms)
    }

    pub(crate) fn revoke_drain_deadline(&self) -> Duration {
        Duration::from_millis(self.revoke_drain_deadline_ms)
    }

    /// Longest time that a consumer or tail takes to stop.
    #[must_use]
    pub fn stop_deadline(&self) -> Duration {
        self.stop_drain_deadline() + self.close_deadline()
    }

    pub(crate) fn stop_drain_deadline(&self) -> Duration {
        Duration::from_millis(self.stop_drain_deadline_ms)
    }

    pub(crate) fn close_deadline(&self) -> Duration {
        Duration::from_millis(self.close_deadline_ms)
    }

    pub(crate) fn breaker_limits(&self) -> BreakerLimits {
        let others_wait_ms = BREAKER_WAIT_MS_MIN.max(2 * u64::from(self.fetch_wait_max_ms));
        BreakerLimits {
            window_records: self.breaker_window_records,
            dead_letters_max_percent: self.breaker_dead_letters_max_percent,
            pause: Duration::from_millis(self.breaker_pause_ms),
            others_wait: Duration::from_millis(others_wait_ms),
        }
    }

    pub(crate) fn stall_deadline(&self) -> Duration {
        Duration::from_millis(self.stall_deadline_ms)
    }
}

/// Problem of addresses that cannot be used.
const SERVERS_PROBLEM: &str = "is not host:port[,host:port…]";
/// Protocols that may stand in front of an address.
const PROTOCOLS: [&str; 4] = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];

/// Reads the addresses of the brokers, so that a mistake is reported with those of other settings, before anything connects.
fn read_servers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let servers = String::deserialize(deserializer)?;
    if are_servers(&servers) { Ok(servers) } else { Err(D::Error::custom(SERVERS_PROBLEM)) }
}

/// Returns true for what librdkafka reads as addresses. It also permits a protocol in front, no port, and superfluous commas.
fn are_servers(servers: &str) -> bool {
    let mut given = servers.split(',').map(str::trim).filter(|server| !server.is_empty()).peekable();
    given.peek().is_some() && given.all(is_server)
}

fn is_server(server: &str) -> bool {
    let (protocol, address) = server.split_once("://").unwrap_or((PROTOCOLS[0], server));
    if !PROTOCOLS.iter().any(|known| known.eq_ignore_ascii_case(protocol)) {
        return false;
    }
    match address.rsplit_once(':') {
        Some((host, port)) => is_host(host, is_name) && is_port(port),
        None => is_host(address, is_name),
    }
}

/// A name or an IPv4 address.
fn is_name(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_addresses_are_refused_when_read() {
        let read = |servers: &str| {
            serde_json::from_value::<Config>(serde_json::json!({ "bootstrap_servers": servers }))
        };
        for servers in
            ["127.0.0.1:8120", "kafka:9092", "a:1, b_2.c-d:2", "[::1]:9092", "PLAINTEXT://h:1", "h", "a:1,"]
        {
            let config = read(servers).expect(servers);
            assert_eq!(config.problems(), Vec::<String>::new(), "{servers}");
        }
        for servers in [
            "",
            " ",
            "h:",
            ":9092",
            "h:0",
            "h:+25",
            "h:65536",
            "h:port",
            ",",
            "h/x:1",
            "::1:9092",
            "http://h:1",
        ] {
            let error = read(servers).expect_err(servers).to_string();
            assert_eq!(error, SERVERS_PROBLEM, "{servers}");
            let config = Config { bootstrap_servers: servers.to_owned(), ..Config::default() };
            assert_eq!(
                config.problems(),
                [format!("kafka.bootstrap_servers {SERVERS_PROBLEM}")],
                "{servers}"
            );
        }
    }

    #[test]
    fn defaults_have_no_problem() {
        assert_eq!(Config::default().problems(), Vec::<String>::new());
    }

    #[test]
    fn all_problems_are_listed() {
        let config = Config {
            lanes: 0,
            heartbeat_interval_ms: 5_000,
            namespace: "a b".to_owned(),
            retry_backoff_min_ms: 10_000,
            ..Config::default()
        };
        assert_eq!(config.problems().len(), 4, "{:?}", config.problems());
    }
}
