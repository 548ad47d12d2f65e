//! Partitions of each member of a group, as its coordinator lists them.
//!
//! This is the view from outside: it tells which share of the partitions the instances of a release really have.

use std::collections::BTreeMap;
use std::time::Duration;

use contracts::Group;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use crate::clients::{self, Quiet};
use crate::config::Config;
use crate::ends::REQUEST_TIMEOUT;
use crate::error::ClientError;

/// Interval at which a group that rebalances is read again.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// State of a group whose members have their partitions.
const STABLE: &str = "Stable";

/// A member of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberPartitions {
    /// Name of its process (`kafka.client_id`).
    pub client_id: String,
    /// Its partitions, by the catalogue name of their topic.
    pub partitions: BTreeMap<String, Vec<i32>>,
}

impl MemberPartitions {
    /// Number of its partitions of these topics.
    #[must_use]
    pub fn count(&self, topics: &[&str]) -> usize {
        topics.iter().filter_map(|topic| self.partitions.get(*topic)).map(Vec::len).sum()
    }
}

/// Reads the members of a group with their partitions, once no partition moves any more.
///
/// # Errors
/// When the broker does not answer. After `within` it returns the members as they are then, which may have no partitions.
pub async fn read(
    config: &Config,
    group: Group,
    within: Duration,
) -> Result<Vec<MemberPartitions>, ClientError> {
    let names = config.names();
    let physical = names.physical(group.as_str());
    let client: BaseConsumer<Quiet> = clients::observer(config, &physical)
        .create_with_context(Quiet)
        .map_err(ClientError::kafka("creating a client that reads groups"))?;
    let read = telemetry::spawn_blocking(move || -> Result<Vec<MemberPartitions>, ClientError> {
        let until = std::time::Instant::now() + within;
        loop {
            let (state, members) = request(&client, &physical)?;
            if state == STABLE || std::time::Instant::now() >= until {
                return Ok(members);
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    });
    let mut members =
        read.await.unwrap_or(Err(ClientError::Cancelled { doing: "reading a group's members" }))?;
    for member in &mut members {
        let physical = std::mem::take(&mut member.partitions);
        let logical =
            |(topic, partitions): (String, Vec<i32>)| (names.logical(&topic).to_owned(), partitions);
        member.partitions = physical.into_iter().map(logical).collect();
    }
    members.sort_by(|a, b| a.client_id.cmp(&b.client_id));
    Ok(members)
}

/// Asks the group's coordinator.
fn request(
    client: &BaseConsumer<Quiet>,
    physical: &str,
) -> Result<(String, Vec<MemberPartitions>), ClientError> {
    let list = client
        .fetch_group_list(Some(physical), REQUEST_TIMEOUT)
        .map_err(ClientError::kafka("reading a group's members"))?;
    let Some(found) = list.groups().iter().find(|found| found.name() == physical) else {
        return Ok((String::new(), Vec::new()));
    };
    let members = found.members().iter().map(|member| MemberPartitions {
        client_id: member.client_id().to_owned(),
        partitions: member.assignment().and_then(parse).unwrap_or_default(),
    });
    Ok((found.state().to_owned(), members.collect()))
}

/// Parses an assignment of the consumer protocol: a version, topics with their partitions, and data of the assignor, which is left
/// out.
///
/// `None` if it ends too early. A member without partitions has no bytes.
fn parse(bytes: &[u8]) -> Option<BTreeMap<String, Vec<i32>>> {
    let mut rest = bytes;
    let _version = number::<2>(&mut rest)?;
    let mut found = BTreeMap::new();
    for _ in 0..u32::from_be_bytes(number(&mut rest)?) {
        let length = usize::from(u16::from_be_bytes(number(&mut rest)?));
        let topic = String::from_utf8_lossy(rest.get(..length)?).into_owned();
        rest = rest.get(length..)?;
        let mut partitions = Vec::new();
        for _ in 0..u32::from_be_bytes(number(&mut rest)?) {
            partitions.push(i32::from_be_bytes(number(&mut rest)?));
        }
        found.insert(topic, partitions);
    }
    Some(found)
}

/// Takes so many bytes.
fn number<const BYTES: usize>(rest: &mut &[u8]) -> Option<[u8; BYTES]> {
    let (taken, after) = rest.split_first_chunk::<BYTES>()?;
    *rest = after;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An assignment as the brokers keep it.
    fn assignment(topics: &[(&str, &[i32])]) -> Vec<u8> {
        let mut bytes = vec![0, 1];
        bytes.extend(u32::try_from(topics.len()).unwrap().to_be_bytes());
        for (topic, partitions) in topics {
            bytes.extend(u16::try_from(topic.len()).unwrap().to_be_bytes());
            bytes.extend(topic.as_bytes());
            bytes.extend(u32::try_from(partitions.len()).unwrap().to_be_bytes());
            bytes.extend(partitions.iter().flat_map(|partition| partition.to_be_bytes()));
        }
        bytes.extend([0xff; 4]);
        bytes
    }

    #[test]
    fn partitions_are_read_by_topic() {
        let bytes = assignment(&[("casino.bets.events.v1", &[0, 2, 4]), ("b", &[])]);
        let partitions = parse(&bytes).unwrap();
        assert_eq!(partitions["casino.bets.events.v1"], [0, 2, 4]);
        let member = MemberPartitions { client_id: "game".to_owned(), partitions };
        assert_eq!(member.count(&["casino.bets.events.v1", "b", "unknown"]), 3);
    }

    #[test]
    fn cut_assignment_is_none() {
        let bytes = assignment(&[("a", &[1])]);
        for length in 0..bytes.len() - 4 {
            assert_eq!(parse(&bytes[..length]), None, "{length}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_wrong(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _parsed = parse(&bytes);
        }
    }
}
