//! Offsets that hold no record for a reader: the ends of transactions, and aborted records.
//!
//! They can be told from records only by reading them. Each unread offset is read once, a limited number at each reading of the
//! lag. Offsets that were not read yet count as records.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::{Message as _, Offset};

use super::Observer;
use super::position::GroupPosition;
use crate::consumer::context::offsets_of;
use crate::error::ClientError;
use crate::names::Names;
use crate::offsets::NextOffset;
use crate::partitions::TopicPartition;

/// Maximum number of records that are read at one reading of the lag.
const RECORDS_MAX: usize = 4_000;
/// Deadline of these reads.
const DEADLINE: Duration = Duration::from_secs(2);
/// Maximum number of remembered holes of one partition. Later ones count as records.
const HOLES_MAX: usize = 10_000;

/// The offsets of one partition that were read, and the holes between the records.
#[derive(Debug, Default)]
pub(super) struct Scan {
    from: i64,
    /// The offset to continue at.
    to: i64,
    /// Begin and end of each hole. The end is not part of it.
    holes: BTreeMap<i64, i64>,
}

/// What is known of every partition with unread offsets.
pub(super) type Scans = BTreeMap<TopicPartition, Scan>;

impl Scan {
    /// Prepares to read up to `stable_end`, for groups that have read up to `lowest`.
    fn begin(&mut self, lowest: i64, stable_end: i64) {
        // An end that moved back belongs to a topic that was created again
        if stable_end < self.to || !(self.from..=self.to).contains(&lowest) {
            *self = Self { from: lowest, to: lowest, holes: BTreeMap::new() };
        }
        self.from = lowest;
        self.holes.retain(|_, end| *end > lowest);
    }

    fn is_complete(&self, stable_end: i64) -> bool {
        self.to >= stable_end || self.holes.len() >= HOLES_MAX
    }

    /// Registers the next record.
    fn record_at(&mut self, offset: i64) {
        self.reach(offset);
        self.to = self.to.max(offset.saturating_add(1));
    }

    /// Registers that the offsets up to `offset` hold no further record.
    fn reach(&mut self, offset: i64) {
        if offset <= self.to {
            return;
        }
        let begin = match self.holes.last_key_value() {
            Some((begin, end)) if *end == self.to => *begin,
            _ => self.to,
        };
        self.holes.insert(begin, offset);
        self.to = offset;
    }

    /// Returns the offset of the first record at or after `offset`, as far as it is known.
    fn first_record(&self, offset: i64) -> i64 {
        let hole = self.holes.range(..=offset).next_back().filter(|(_, end)| **end > offset);
        hole.map_or(offset, |(_, end)| *end)
    }

    /// Number of offsets from `first` to `end` that hold no record.
    fn without_record(&self, first: i64, end: i64) -> i64 {
        let inside = |(begin, hole_end): (&i64, &i64)| ((*hole_end).min(end) - (*begin).max(first)).max(0);
        self.holes.iter().map(inside).sum()
    }

    /// Moves the position to the first record, and counts the holes behind it.
    fn apply(&self, position: &mut GroupPosition) {
        if position.first_unread < position.stable_end {
            position.first_unread = self.first_record(position.first_unread).min(position.stable_end);
            position.without_record = self.without_record(position.first_unread, position.stable_end);
        }
    }
}

/// Reads on in every partition with unread offsets, and corrects the positions.
pub(super) fn read(
    committed_only: &Observer,
    names: &Names,
    scans: &mut Scans,
    positions: &mut [GroupPosition],
) -> Result<(), ClientError> {
    let open = begin(scans, positions);
    if !open.is_empty() {
        read_on(committed_only, names, scans, open)?;
    }
    for position in positions {
        if let Some(scan) = scans.get(&position.partition) {
            scan.apply(position);
        }
    }
    Ok(())
}

/// Returns the partitions that have to be read, with their stable ends. What is known of all others is forgotten.
fn begin(scans: &mut Scans, positions: &[GroupPosition]) -> BTreeMap<TopicPartition, i64> {
    let mut unread: BTreeMap<TopicPartition, (i64, i64)> = BTreeMap::new();
    for position in positions.iter().filter(|position| position.first_unread < position.stable_end) {
        let start = (position.first_unread, position.stable_end);
        let range = unread.entry(position.partition.clone()).or_insert(start);
        range.0 = range.0.min(position.first_unread);
    }
    scans.retain(|partition, _| unread.contains_key(partition));
    let mut open = BTreeMap::new();
    for (partition, (lowest, stable_end)) in unread {
        let scan = scans.entry(partition.clone()).or_default();
        scan.begin(lowest, stable_end);
        if !scan.is_complete(stable_end) {
            open.insert(partition, stable_end);
        }
    }
    open
}

fn read_on(
    client: &Observer,
    names: &Names,
    scans: &mut Scans,
    mut open: BTreeMap<TopicPartition, i64>,
) -> Result<(), ClientError> {
    const DOING: &str = "reading unread records";
    let until = Instant::now() + DEADLINE;
    let starts = open.keys().map(|key| (key, NextOffset(scans.get(key).map_or(0, |scan| scan.to))));
    let list = offsets_of(starts, names).map_err(ClientError::kafka(DOING))?;
    client.assign(&list).map_err(ClientError::kafka(DOING))?;
    // A position that the client has already belongs to an earlier reading, until a record of this one arrives
    let mut foreign: BTreeSet<TopicPartition> =
        reached(client, names).into_iter().map(|(partition, _)| partition).collect();
    let mut left = RECORDS_MAX;
    while !open.is_empty() && left > 0 && Instant::now() < until {
        match client.poll(Duration::from_millis(50)) {
            Some(Ok(message)) => {
                left -= 1;
                let partition = TopicPartition::new(names.logical(message.topic()), message.partition());
                foreign.remove(&partition);
                let Some(scan) = scans.get_mut(&partition) else { continue };
                scan.record_at(message.offset());
                if open.get(&partition).is_some_and(|end| scan.is_complete(*end)) {
                    open.remove(&partition);
                }
            }
            // The client repeats what failed until the deadline
            Some(Err(_)) => {}
            // No record follows at present, so only the client's position shows that it passed offsets without one
            None => {
                for (partition, offset) in reached(client, names) {
                    if let Some(scan) = scans.get_mut(&partition).filter(|_| !foreign.contains(&partition)) {
                        scan.reach(offset);
                    }
                }
                open.retain(|key, end| scans.get(key).is_some_and(|scan| !scan.is_complete(*end)));
            }
        }
    }
    client.unassign().map_err(ClientError::kafka(DOING))
}

/// Returns the client's position in each assigned partition that it has read.
fn reached(client: &Observer, names: &Names) -> Vec<(TopicPartition, i64)> {
    let Ok(list) = client.position() else { return Vec::new() };
    let elements = list.elements();
    let reached = elements.iter().filter_map(|element| match element.offset() {
        Offset::Offset(next) => {
            Some((TopicPartition::new(names.logical(element.topic()), element.partition()), next))
        }
        _ => None,
    });
    reached.collect()
}

#[cfg(test)]
mod tests {
    use contracts::Group;

    use super::*;

    /// A partition with records at 3, 4 and 9, read up to 12.
    fn scan() -> Scan {
        let mut scan = Scan::default();
        scan.begin(0, 12);
        for offset in [3, 4, 9] {
            scan.record_at(offset);
        }
        scan.reach(11);
        scan.reach(12);
        scan
    }

    #[test]
    fn offsets_without_record_are_no_lag() {
        let scan = scan();
        assert_eq!(scan.holes, BTreeMap::from([(0, 3), (5, 9), (10, 12)]));
        assert!(scan.is_complete(12) && !scan.is_complete(13));
        let of = |first_unread, stable_end, end| {
            let partition = TopicPartition::new("t", 0);
            let mut position = GroupPosition {
                first_unread,
                stable_end,
                end,
                ..GroupPosition::new(Group::Game, partition, None, 0)
            };
            scan.apply(&mut position);
            (position.first_unread, position.unread(), position.held())
        };
        assert_eq!(of(0, 12, 12), (3, 3, 0));
        assert_eq!(of(4, 12, 12), (4, 2, 0), "a group that is ahead of the slowest");
        assert_eq!(of(7, 12, 12), (9, 1, 0), "inside a hole");
        assert_eq!(of(10, 12, 12), (12, 0, 0), "only the end of a transaction");
        assert_eq!(of(10, 12, 15), (12, 3, 3), "an open transaction follows");
        assert_eq!(of(0, 20, 20), (3, 11, 0), "offsets that were not read count");
        assert_eq!(of(20, 20, 20), (20, 0, 0));
    }

    #[test]
    fn scan_goes_on_or_begins_again() {
        let mut kept = scan();
        kept.begin(4, 20);
        assert_eq!((kept.from, kept.to), (4, 12));
        assert_eq!(
            kept.holes,
            BTreeMap::from([(5, 9), (10, 12)]),
            "what the slowest group passed is forgotten"
        );
        for (lowest, stable_end) in [(13, 20), (-1, 20), (0, 11)] {
            let mut again = scan();
            again.begin(lowest, stable_end);
            assert_eq!((again.from, again.to, again.holes.len()), (lowest, lowest, 0), "{lowest}");
        }
    }

    #[test]
    fn slowest_group_decides_where_to_read() {
        let (one, other) = (TopicPartition::new("t", 0), TopicPartition::new("t", 1));
        let position = |partition: &TopicPartition, first_unread, stable_end| GroupPosition {
            first_unread,
            stable_end,
            end: 30,
            ..GroupPosition::new(Group::Game, partition.clone(), None, 0)
        };
        let mut scans = Scans::from([(other.clone(), scan())]);
        let open = begin(&mut scans, &[position(&one, 7, 9), position(&one, 5, 9), position(&other, 30, 30)]);
        assert_eq!(open, BTreeMap::from([(one.clone(), 9)]));
        assert_eq!(scans.keys().collect::<Vec<_>>(), [&one], "nothing is unread in the other");
        assert_eq!(scans.get(&one).map(|scan| scan.to), Some(5));
    }

    #[test]
    fn holes_are_bounded() {
        let mut scan = Scan::default();
        let mut offset = 1;
        while !scan.is_complete(i64::MAX) {
            scan.record_at(offset);
            offset += 2;
        }
        assert_eq!(scan.holes.len(), HOLES_MAX);
    }
}
