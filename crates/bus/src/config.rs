//! The settings of every Kafka client in a process.
//!
//! Defaults are the ones that were measured; a field exists only where two deployments, or a test, need another value.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::names::Names;

/// One process's Kafka settings: the `[kafka]` section of its configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `host:port[,host:port…]` of the brokers that a client asks first.
    pub bootstrap_servers: String,
    /// Who this process is, in the broker's logs, in group listings and in the `dlq-service` header.
    pub client_id: String,
    /// Put before every topic and group name, with a dot. Empty in production; tests share one broker through it.
    pub namespace: String,
    /// A stable member name (static membership). Unique in the group, or the newcomer is fenced.
    pub group_instance_id: Option<String>,
    /// How long a silent member keeps its partitions.
    pub session_timeout_ms: u32,
    /// How often a member says that it lives; at most a third of the session time-out.
    pub heartbeat_interval_ms: u32,
    /// How long the producer waits for company before it sends; 0 because a bet waits behind it.
    pub linger_ms: u32,
    /// After this a publish that was not acknowledged is given up, its outcome unknown.
    pub message_timeout_ms: u32,
    /// How long a publish waits for room in the producer's queue before it is refused.
    pub queue_full_timeout_ms: u32,
    /// How many records may be worked on at once: one per lane, a key always in the same lane.
    pub lanes: usize,
    /// Records held by this process before it stops fetching.
    pub in_flight_records_max: usize,
    /// Bytes of records held by this process before it stops fetching.
    pub in_flight_bytes_max: usize,
    /// What librdkafka may fetch ahead on top of that; its own default of 64 MiB is a service's whole allowance.
    pub prefetch_kbytes_max: u32,
    /// How much the broker gathers before it answers a fetch. 1 where somebody waits for the record; more where nobody does,
    /// for each answer wakes broker and consumer, whether it holds one record or a hundred.
    pub fetch_min_bytes: u32,
    /// How long it gathers at most: what a record may be late at a consumer that does not ask for each at once.
    pub fetch_wait_max_ms: u32,
    /// How often the offset frontier is committed.
    pub commit_interval_ms: u64,
    /// How long a commit may take before a hand-over or a stop goes on without it.
    pub commit_deadline_ms: u64,
    /// How long partitions that move away are given to finish what was begun.
    pub revoke_drain_deadline_ms: u64,
    /// How long a stopping process gives the records in hand.
    pub stop_drain_deadline_ms: u64,
    /// How long leaving the group and closing the client may take before they are abandoned.
    pub close_deadline_ms: u64,
    /// One attempt that runs longer, or a frontier that stands still for longer with work in hand, is a stuck process.
    pub stall_deadline_ms: u64,
    /// The first pause before a transient failure is tried again.
    pub retry_backoff_min_ms: u64,
    /// The longest pause between two attempts.
    pub retry_backoff_max_ms: u64,
    /// A record that keeps failing is reported after this, and again each time that it passes; it is never skipped.
    pub retry_alert_after_ms: u64,
    /// Replicas of the topics that [`crate::admin::ensure_topics`] creates; -1 leaves it to the broker.
    pub replication_factor: i32,
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
            queue_full_timeout_ms: 1_000,
            lanes: 32,
            in_flight_records_max: 1_024,
            in_flight_bytes_max: 8 * 1024 * 1024,
            prefetch_kbytes_max: 4_096,
            fetch_min_bytes: 1,
            fetch_wait_max_ms: 500,
            commit_interval_ms: 500,
            commit_deadline_ms: 10_000,
            revoke_drain_deadline_ms: 10_000,
            stop_drain_deadline_ms: 3_000,
            close_deadline_ms: 3_000,
            stall_deadline_ms: 120_000,
            retry_backoff_min_ms: 50,
            retry_backoff_max_ms: 5_000,
            retry_alert_after_ms: 120_000,
            replication_factor: -1,
        }
    }
}

impl Config {
    /// Everything that is wrong with these settings, so that all of it can be said at once.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |holds: bool, message: &str| {
            if !holds {
                problems.push(message.to_owned());
            }
        };
        check(!self.bootstrap_servers.trim().is_empty(), "kafka.bootstrap_servers is empty");
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

    pub(crate) fn stop_drain_deadline(&self) -> Duration {
        Duration::from_millis(self.stop_drain_deadline_ms)
    }

    pub(crate) fn close_deadline(&self) -> Duration {
        Duration::from_millis(self.close_deadline_ms)
    }

    pub(crate) fn stall_deadline(&self) -> Duration {
        Duration::from_millis(self.stall_deadline_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_no_problem() {
        assert_eq!(Config::default().problems(), Vec::<String>::new());
    }

    #[test]
    fn every_problem_is_named_at_once() {
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
