//! Changes of topics: other settings, and deleted records.

use std::sync::Arc;

use contracts::{Group, Topic, TopicSpec};
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{DisturbError, REQUEST_TIMEOUT};
use crate::clients::{self, Quiet};
use crate::config::Config;
use crate::error::ClientError;
use crate::lag::{PartitionLag, Reader};

/// Records that were deleted before one group read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// The partition.
    pub partition: i32,
    /// First deleted offset that the group had not read.
    pub from: i64,
    /// First offset after them.
    pub to: i64,
}

fn admin(config: &Config) -> Result<AdminClient<Quiet>, ClientError> {
    clients::admin(config)
        .create_with_context(Quiet)
        .map_err(ClientError::kafka("creating the administration client"))
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT)).operation_timeout(Some(REQUEST_TIMEOUT))
}

/// All settings are given, because those that are left out would return to the broker's defaults.
pub(super) async fn set(
    config: &Config,
    spec: &TopicSpec,
    changes: &[(&str, &str)],
) -> Result<(), DisturbError> {
    const DOING: &str = "changing a topic's settings";
    let physical = config.names().physical(&spec.name);
    let settings = merged(spec, changes);
    let begin = AlterConfig::new(ResourceSpecifier::Topic(&physical));
    let altered = settings.iter().fold(begin, |altered, (name, value)| altered.set(name, value));
    let answers = admin(config)?.alter_configs([&altered], &options()).await;
    for answer in answers.map_err(ClientError::kafka(DOING))? {
        answer.map_err(|(_, code)| DisturbError::Refused { doing: DOING, reason: code.to_string() })?;
    }
    Ok(())
}

/// The settings of the catalogue with some of them changed.
fn merged<'a>(spec: &'a TopicSpec, changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let is_changed = |name: &str| changes.iter().any(|(changed, _)| *changed == name);
    let kept = spec.configs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    kept.filter(|(name, _)| !is_changed(name)).chain(changes.iter().copied()).collect()
}

pub(super) async fn delete_unread(
    config: &Config,
    reader: &Arc<Reader>,
    victim: Group,
    topic: Topic,
) -> Result<Vec<Deleted>, DisturbError> {
    const DOING: &str = "deleting records";
    let lags = reader.read().await?;
    let of_topic = lags.iter().filter(|lag| lag.topic == topic.name());
    let found = deletable(&of_topic.map(Position::of).collect::<Vec<_>>(), victim);
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let physical = config.names().physical(topic.name());
    let mut ends = TopicPartitionList::new();
    for Deleted { partition, to, .. } in &found {
        ends.add_partition_offset(&physical, *partition, Offset::Offset(*to))
            .map_err(ClientError::kafka(DOING))?;
    }
    let answer = admin(config)?.delete_records(&ends, &options()).await.map_err(ClientError::kafka(DOING))?;
    for element in answer.elements() {
        element.error().map_err(|error| DisturbError::Refused { doing: DOING, reason: error.to_string() })?;
    }
    Ok(found)
}

/// Place of a group in one partition of the topic.
struct Position<'a> {
    group: &'a str,
    partition: i32,
    committed: Option<i64>,
    end: i64,
}

impl<'a> Position<'a> {
    fn of(lag: &'a PartitionLag) -> Self {
        Self { group: &lag.group, partition: lag.partition, committed: lag.committed, end: lag.end }
    }
}

/// The records that `victim` has not read and that all other groups have. No group but the victim may miss one.
fn deletable(positions: &[Position<'_>], victim: Group) -> Vec<Deleted> {
    let is_victim = |position: &Position<'_>| position.group == victim.as_str();
    let of_one = |own: &Position<'_>| {
        let others = positions.iter().filter(|other| other.partition == own.partition && !is_victim(other));
        // A group that never committed here would begin at the oldest record, so nothing may be deleted.
        let read_by_all = others.map(|other| other.committed.unwrap_or(0)).min().unwrap_or(own.end);
        let (from, to) = (own.committed?, read_by_all.min(own.end));
        (to > from).then_some(Deleted { partition: own.partition, from, to })
    };
    positions.iter().filter(|position| is_victim(position)).filter_map(of_one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VICTIM: &str = "notification";

    fn at(group: &str, partition: i32, committed: Option<i64>, end: i64) -> Position<'_> {
        Position { group, partition, committed, end }
    }

    fn found(positions: &[Position<'_>]) -> Vec<Deleted> {
        deletable(positions, Group::Notification)
    }

    #[test]
    fn only_records_read_by_all_are_deleted() {
        let positions = [
            at(VICTIM, 0, Some(10), 30),
            at("user", 0, Some(30), 30),
            at("analytics", 0, Some(25), 30),
            at(VICTIM, 1, Some(10), 12),
            at("user", 1, Some(9), 12),
        ];
        assert_eq!(found(&positions), [Deleted { partition: 0, from: 10, to: 25 }]);
    }

    #[test]
    fn unknown_position_prevents_deletion() {
        assert!(found(&[at(VICTIM, 0, None, 30)]).is_empty());
        assert!(found(&[at(VICTIM, 0, Some(10), 30), at("user", 0, None, 30)]).is_empty());
    }

    #[test]
    fn changed_setting_replaces_the_catalogues() {
        let configs = [("max.message.bytes", "524288"), ("retention.ms", "1")];
        let configs = configs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let spec = TopicSpec { name: "t".to_owned(), partitions: 1, configs };
        assert_eq!(
            merged(&spec, &[("max.message.bytes", "100")]),
            [("retention.ms", "1"), ("max.message.bytes", "100")]
        );
        assert_eq!(merged(&spec, &[]), [("max.message.bytes", "524288"), ("retention.ms", "1")]);
    }
}
