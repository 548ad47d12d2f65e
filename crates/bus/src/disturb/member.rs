//! A member that joins a group, handles nothing, commits nothing, and leaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use contracts::Group;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;

use crate::clients;
use crate::config::Config;
use crate::error::ClientError;

/// Time-out of one poll, after which the member looks whether it should leave.
const POLL: Duration = Duration::from_millis(50);

/// Notes the first assignment. Its log is for developers only, because the caller reports what happened.
struct Passing {
    is_assigned: Arc<AtomicBool>,
}

impl ClientContext for Passing {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(kafka.facility = facility, "librdkafka: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(error = %error, "the Kafka client reported an error: {reason}");
    }
}

impl ConsumerContext for Passing {
    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if matches!(rebalance, Rebalance::Assign(list) if list.count() > 0) {
            self.is_assigned.store(true, Ordering::Release);
        }
    }
}

/// Sets a flag when it is dropped, so that the member leaves with the future that waits for it.
struct LeaveOnDrop(Arc<AtomicBool>);

impl Drop for LeaveOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

pub(super) async fn join_and_leave(
    config: &Config,
    group: Group,
    join_deadline: Duration,
    hold: Duration,
) -> Result<bool, ClientError> {
    let must_leave = Arc::new(AtomicBool::new(false));
    let _leave = LeaveOnDrop(Arc::clone(&must_leave));
    let config = config.clone();
    // Creating, polling and above all closing the client block.
    let blocking = move || visit(&config, group, join_deadline, hold, &must_leave);
    let visited = telemetry::spawn_blocking(blocking).await;
    visited.unwrap_or(Err(ClientError::Cancelled { doing: "joining a group" }))
}

/// Joins and leaves. The protocol and the assignor are those of our consumers, which the group requires.
fn visit(
    config: &Config,
    group: Group,
    join_deadline: Duration,
    hold: Duration,
    must_leave: &AtomicBool,
) -> Result<bool, ClientError> {
    let names = config.names();
    let is_assigned = Arc::new(AtomicBool::new(false));
    let context = Passing { is_assigned: Arc::clone(&is_assigned) };
    let consumer: BaseConsumer<Passing> = clients::member(config, &names.physical(group.as_str()))
        .create_with_context(context)
        .map_err(ClientError::kafka("creating a further member of a group"))?;
    let topics: Vec<String> = group.reads().iter().map(|topic| names.physical(topic.name())).collect();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    consumer.subscribe(&topics).map_err(ClientError::kafka("subscribing to topics"))?;
    let stays = |until: Instant| Instant::now() < until && !must_leave.load(Ordering::Acquire);

    let join_until = Instant::now() + join_deadline;
    while stays(join_until) && !is_assigned.load(Ordering::Acquire) {
        drop(consumer.poll(POLL));
    }
    let has_joined = is_assigned.load(Ordering::Acquire);
    let hold_until = Instant::now() + hold;
    while has_joined && stays(hold_until) {
        // A record is dropped unread. It is not committed, so the next owner of its partition gets it.
        drop(consumer.poll(POLL));
    }
    consumer.unsubscribe();
    Ok(has_joined)
}
