//! Timestamp of the oldest unread record of each partition.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::{Message as _, Timestamp};
use telemetry::metric::{self, Metric};

use super::Observer;
use super::position::GroupPosition;
use crate::consumer::context::offsets_of;
use crate::error::ClientError;
use crate::latency;
use crate::names::Names;
use crate::offsets::NextOffset;
use crate::partitions::TopicPartition;

/// Deadline for reading the oldest unread records of all partitions.
const DEADLINE: Duration = Duration::from_secs(3);

type Timestamps = BTreeMap<(TopicPartition, i64), Timestamp>;

/// Reads the oldest unread record of every partition that has one. Groups at the same offset share the read.
pub(super) fn read(
    client: &Observer,
    names: &Names,
    positions: &mut [GroupPosition],
) -> Result<(), ClientError> {
    let mut rounds: Vec<BTreeMap<TopicPartition, i64>> = Vec::new();
    for position in positions.iter().filter(|position| position.unread() > 0) {
        let start = position.first_unread;
        // A partition can be read at only one offset at a time, so another offset waits for the next round
        let round = rounds
            .iter_mut()
            .find(|round| round.get(&position.partition).is_none_or(|known| *known == start));
        match round {
            Some(round) => drop(round.insert(position.partition.clone(), start)),
            None => rounds.push(BTreeMap::from([(position.partition.clone(), start)])),
        }
    }
    let mut oldest = Timestamps::new();
    let until = Instant::now() + DEADLINE;
    for round in rounds {
        read_round(client, names, round, until, &mut oldest)?;
    }
    let now_ms = contracts::now_ms();
    for position in positions.iter_mut().filter(|position| position.unread() > 0) {
        let key = (position.partition.clone(), position.first_unread);
        // A record that was not read in time proves nothing about clocks
        let Some(timestamp) = oldest.get(&key) else { continue };
        let age = latency::age(timestamp.to_millis(), now_ms, &position.partition.topic);
        position.age_ms = age.ms;
        position.is_broker_time = matches!(timestamp, Timestamp::LogAppendTime(_));
        if age.is_skewed {
            metric::count(Metric::BusRecordsSkewed, 1, &[("topic", &position.partition.topic)]);
        }
    }
    Ok(())
}

fn read_round(
    client: &Observer,
    names: &Names,
    round: BTreeMap<TopicPartition, i64>,
    until: Instant,
    oldest: &mut Timestamps,
) -> Result<(), ClientError> {
    const DOING: &str = "reading the oldest unread records";
    let positions = round.iter().map(|(partition, start)| (partition, NextOffset(*start)));
    let list = offsets_of(positions, names).map_err(ClientError::kafka(DOING))?;
    client.assign(&list).map_err(ClientError::kafka(DOING))?;
    let mut waiting = round;
    while !waiting.is_empty() && Instant::now() < until {
        let Some(Ok(message)) = client.poll(Duration::from_millis(100)) else { continue };
        let partition = TopicPartition::new(names.logical(message.topic()), message.partition());
        if let Some(start) = waiting.remove(&partition) {
            oldest.insert((partition, start), message.timestamp());
        }
    }
    client.unassign().map_err(ClientError::kafka(DOING))
}
