//! Partitions of a topic, offsets at both ends of them, and what open transactions hold back between the last stable offset and the high watermark.
//!
//! A reader of committed records gets none at or above the last stable offset of a partition. The records from there to the high
//! watermark exist, and cannot be read before the transaction ends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;

use crate::clients::Quiet;
use crate::consumer::context::list_of;
use crate::error::ClientError;
use crate::leadership::await_leader;
use crate::names::Names;
use crate::partitions::TopicPartition;

/// Time-out of one request to the brokers.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// An offset of each partition.
pub(crate) type Offsets = BTreeMap<TopicPartition, i64>;

/// Returns the number of partitions of a topic, 0 if there is no such topic.
///
/// # Errors
/// When the broker does not know at present, as while a topic has no leader for longer than [`await_leader`] waits. That is no
/// missing topic.
pub(crate) fn partition_count(client: &BaseConsumer<Quiet>, physical: &str) -> Result<i32, ClientError> {
    await_leader(|| request_partition_count(client, physical))
}

fn request_partition_count(client: &BaseConsumer<Quiet>, physical: &str) -> Result<i32, ClientError> {
    const DOING: &str = "reading a topic's partitions";
    let metadata =
        client.fetch_metadata(Some(physical), REQUEST_TIMEOUT).map_err(ClientError::kafka(DOING))?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == physical) else { return Ok(0) };
    match found.error().map(RDKafkaErrorCode::from) {
        Some(code) if is_missing(code) => Ok(0),
        Some(code) => Err(ClientError::Kafka { doing: DOING, source: KafkaError::MetadataFetch(code) }),
        None => Ok(i32::try_from(found.partitions().len()).unwrap_or(i32::MAX)),
    }
}

/// Returns true if the answer says that there is no such topic. Any other error says nothing about that.
const fn is_missing(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)
}

/// Reads the first offset or the end of each partition, with one request to each broker. Removes those that are gone from
/// `partitions`.
///
/// The end is the high watermark for a client that sees uncommitted records, and the last stable offset for another one. The high
/// watermarks must be read first. In the other order, new records would seem to be held back.
pub(crate) fn read(
    client: &BaseConsumer<Quiet>,
    names: &Names,
    partitions: &mut BTreeSet<TopicPartition>,
    which: Offset,
) -> Result<Offsets, ClientError> {
    // The elements of an empty list must not be read
    if partitions.is_empty() {
        return Ok(Offsets::new());
    }
    await_leader(|| request_offsets(client, names, partitions, which))
}

fn request_offsets(
    client: &BaseConsumer<Quiet>,
    names: &Names,
    partitions: &mut BTreeSet<TopicPartition>,
    which: Offset,
) -> Result<Offsets, ClientError> {
    const DOING: &str = "reading the end offsets of partitions";
    let mut wanted = list_of(&*partitions, names);
    wanted.set_all_offsets(which).map_err(ClientError::kafka(DOING))?;
    let found = client.offsets_for_times(wanted, REQUEST_TIMEOUT).map_err(ClientError::kafka(DOING))?;
    let (mut offsets, mut gone) = (Offsets::new(), Vec::new());
    for partition in &*partitions {
        let element = found.find_partition(&names.physical(&partition.topic), partition.partition);
        match element.map(|element| element.error()) {
            Some(Err(source)) if is_gone(&source) => gone.push(partition.clone()),
            Some(Err(source)) => return Err(ClientError::Kafka { doing: DOING, source }),
            Some(Ok(())) | None => {
                offsets.extend(offset_in(&found, partition, names).map(|at| (partition.clone(), at)));
            }
        }
    }
    partitions.retain(|partition| !gone.contains(partition));
    Ok(offsets)
}

/// Returns true if the partition does not exist any more.
fn is_gone(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition
        )
    )
}

/// Returns the offset of a partition in a list.
pub(crate) fn offset_in(list: &TopicPartitionList, partition: &TopicPartition, names: &Names) -> Option<i64> {
    let found = list.find_partition(&names.physical(&partition.topic), partition.partition)?;
    match found.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    }
}

/// Number of records that open transactions hold back in a partition that a reader of committed records can read to `stable_end`.
pub(crate) fn held(high_watermark: Option<i64>, stable_end: i64) -> u64 {
    high_watermark.map_or(0, |high| u64::try_from(high.saturating_sub(stable_end)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unknown_topic_is_missing() {
        assert!(is_missing(RDKafkaErrorCode::UnknownTopicOrPartition));
        for code in [
            RDKafkaErrorCode::LeaderNotAvailable,
            RDKafkaErrorCode::TopicAuthorizationFailed,
            RDKafkaErrorCode::InvalidTopic,
        ] {
            assert!(!is_missing(code), "{code:?}");
        }
    }

    #[test]
    fn records_above_the_stable_end_are_held() {
        assert_eq!(held(Some(12), 9), 3);
        assert_eq!(held(Some(9), 9), 0);
        assert_eq!(held(Some(9), 12), 0, "records arrived between the two reads");
        assert_eq!(held(None, 9), 0);
    }
}
