//! Faults of the broker: access, limits, deleted records, and a group that never rests.
//!
//! The topic that is denied is `casino.payments.events.v1`, and only writing is: payment alone writes to it. Payment's decision
//! is stored before it publishes, so it tries the same publication again until that is permitted, and loses nothing.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use contracts::parts::Part;
use contracts::topics::{Group, Topic, TopicSpec, catalogue};
use faults::{Scope, Values};

use super::fault::millis;
use super::platform::Platform;
use super::processes::group_of;

/// Topic that is denied.
const DENIED: Topic = Topic::PaymentsEvents;
/// Topic whose record limit is lowered.
const LIMITED: Topic = Topic::BetsCommands;
/// Topic whose unread records are deleted, and the group that has not read them.
const DELETED_FROM: Topic = Topic::BetsEvents;
const MISSES_RECORDS: Group = Group::Notification;
/// Client that is throttled.
const THROTTLED: Part = Part::Gateway;

/// Time in which a group assigns partitions to a further member.
const JOIN_DEADLINE: Duration = Duration::from_secs(10);
/// Time in which a record has to arrive that the stopped group does not read.
const UNREAD_DEADLINE: Duration = Duration::from_secs(30);
/// Interval between two looks for unread records, each of which costs the broker some requests.
const UNREAD_INTERVAL: Duration = Duration::from_millis(500);

/// Joins the group of the scope as a further member, and leaves it.
pub(super) async fn visit_group(platform: &Platform, scope: &Scope, values: &Values) -> Result<u64> {
    let group = group_of(scope)?;
    let hold = millis(values.get("interval_ms"));
    if !platform.broker()?.join_and_leave(group, JOIN_DEADLINE, hold).await? {
        bail!("the group {group} assigned no partitions within {} s", JOIN_DEADLINE.as_secs());
    }
    Ok(1)
}

pub(super) async fn deny_topic(platform: &Platform) -> Result<u64> {
    platform.broker()?.deny_writing(DENIED).await?;
    Ok(1)
}

pub(super) async fn permit_topic(platform: &Platform) -> Result<()> {
    Ok(platform.broker()?.permit_everything(DENIED).await?)
}

pub(super) async fn lower_record_limit(platform: &Platform, values: &Values) -> Result<u64> {
    let bytes_max = values.get("bytes_max").to_string();
    let changes = [("max.message.bytes", bytes_max.as_str())];
    platform.broker()?.set_topic(&spec_of(LIMITED)?, &changes).await?;
    Ok(1)
}

pub(super) async fn restore_record_limit(platform: &Platform) -> Result<()> {
    Ok(platform.broker()?.set_topic(&spec_of(LIMITED)?, &[]).await?)
}

fn spec_of(topic: Topic) -> Result<TopicSpec> {
    let spec = catalogue().into_iter().find(|spec| spec.name == topic.name());
    spec.with_context(|| format!("{topic} is not in the catalogue"))
}

/// Stops notification, deletes what it has not read, and starts it again.
pub(super) async fn delete_unread(platform: &Platform) -> Result<u64> {
    platform.stop(MISSES_RECORDS.as_str()).await?;
    let deleted = delete_when_unread(platform).await;
    start_notification(platform).await?;
    deleted.map(|()| 1)
}

pub(super) async fn start_notification(platform: &Platform) -> Result<()> {
    platform.start(MISSES_RECORDS.as_str()).await
}

/// Waits for records that notification has not read and all other groups have, and deletes them.
async fn delete_when_unread(platform: &Platform) -> Result<()> {
    let broker = platform.broker()?;
    let until = Instant::now() + UNREAD_DEADLINE;
    loop {
        let deleted = broker.delete_unread(MISSES_RECORDS, DELETED_FROM).await?;
        if !deleted.is_empty() {
            let records: i64 = deleted.iter().map(|one| one.to.saturating_sub(one.from)).sum();
            tracing::info!(records, "deleted records of {DELETED_FROM} that {MISSES_RECORDS} had not read");
            return Ok(());
        }
        if Instant::now() > until {
            bail!(
                "no record of {DELETED_FROM} arrived within {} s: it needs bets",
                UNREAD_DEADLINE.as_secs()
            );
        }
        tokio::time::sleep(UNREAD_INTERVAL).await;
    }
}

pub(super) async fn throttle_gateway(platform: &Platform, values: &Values) -> Result<u64> {
    let bytes_per_s = u32::try_from(values.get("bytes_per_s"))?;
    platform.broker()?.limit_producing(THROTTLED.as_str(), Some(bytes_per_s)).await?;
    Ok(1)
}

pub(super) async fn unthrottle_gateway(platform: &Platform) -> Result<()> {
    Ok(platform.broker()?.limit_producing(THROTTLED.as_str(), None).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denial_concerns_one_writer() {
        assert_eq!(DENIED.writers(), [Part::Payment]);
    }

    #[test]
    fn limited_topic_has_a_limit_to_return_to() {
        let spec = spec_of(LIMITED).unwrap();
        assert!(spec.configs.iter().any(|(name, _)| name == "max.message.bytes"), "{spec:?}");
    }

    #[test]
    fn group_reads_the_topic_whose_records_it_misses() {
        assert!(MISSES_RECORDS.reads().contains(&DELETED_FROM));
    }
}
