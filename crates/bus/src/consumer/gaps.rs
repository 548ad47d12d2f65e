//! Records that the broker deleted before this group read them: counted and reported, never silent.
//!
//! librdkafka continues at the first offset that the broker still has, without an error. An offset is also left out where a
//! transaction ended or was aborted. So a jump of the reader is a gap only as far as the broker's log begins behind it.
//! [`Gaps`] does no I/O. [`Reports`] limits how many gaps are reported.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use rdkafka::consumer::Consumer as _;
use tokio::task::JoinHandle;

use super::Client;
use super::context::list_of;
use super::owner::{Mode, Owner};
use super::statistics::Readings;
use crate::names::Names;
use crate::offsets::Offsets;
use crate::partitions::TopicPartition;

mod reports;
use reports::{Gap, Reports};

/// Time-out of the request for committed offsets.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of jumps of one partition that wait for their check.
const JUMPS_MAX: usize = 16;
/// Number of statistics after which a jump is no gap. The first one may be older than the jump.
const CHECKS_MAX: u32 = 3;

/// Committed offsets of partitions.
type Starts = Vec<(TopicPartition, i64)>;

/// A jump of the reader over offsets. It may be a gap.
#[derive(Debug)]
struct Jump {
    from: i64,
    to: i64,
    checks: u32,
}

/// What is known of the reader's jumps.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    /// Committed offsets at the assignment, for partitions without a delivered record.
    starts: BTreeMap<TopicPartition, i64>,
    /// Partitions whose committed offset is not known yet, with the first delivered offset.
    unknown: BTreeMap<TopicPartition, Option<i64>>,
    jumps: BTreeMap<TopicPartition, Vec<Jump>>,
    /// Offsets below which gaps were already reported.
    reported: BTreeMap<TopicPartition, i64>,
    /// A request for committed offsets. It answers None if it failed.
    request: Option<JoinHandle<Option<Starts>>>,
    requested: BTreeSet<TopicPartition>,
    reports: Reports,
}

impl Gaps {
    fn add_assigned(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.remove(partition);
            self.unknown.insert(partition.clone(), None);
        }
    }

    /// Forgets a partition that is no longer ours.
    pub(super) fn remove(&mut self, partition: &TopicPartition) {
        self.starts.remove(partition);
        self.unknown.remove(partition);
        self.jumps.remove(partition);
        self.reported.remove(partition);
        self.requested.remove(partition);
    }

    /// Sets the committed offset at the assignment.
    fn set_start(&mut self, partition: &TopicPartition, start: i64) {
        match self.unknown.remove(partition) {
            Some(Some(first)) => self.add_jump(partition, start, first),
            Some(None) => drop(self.starts.insert(partition.clone(), start)),
            None => {}
        }
    }

    /// Registers that the reader moved to `offset`. `delivered` is the offset after the last one that was delivered or passed.
    fn note(&mut self, partition: &TopicPartition, delivered: Option<i64>, offset: i64) {
        if let Some(first) = self.unknown.get_mut(partition) {
            first.get_or_insert(offset);
        }
        if let Some(expected) = self.expected(partition, delivered)
            && offset > expected
        {
            self.add_jump(partition, expected, offset);
        }
    }

    fn add_jump(&mut self, partition: &TopicPartition, from: i64, to: i64) {
        if to > from {
            let jumps = self.jumps.entry(partition.clone()).or_default();
            if jumps.len() >= JUMPS_MAX {
                jumps.remove(0);
            }
            jumps.push(Jump { from, to, checks: 0 });
        }
    }

    /// Returns the offset of the next record, if it is known.
    fn expected(&self, partition: &TopicPartition, delivered: Option<i64>) -> Option<i64> {
        let next = delivered.or_else(|| self.starts.get(partition).copied())?;
        Some(self.reported.get(partition).map_or(next, |reported| next.max(*reported)))
    }

    /// Compares the jumps of a partition, and the offset that it expects, with the first offset on the broker. Returns the gaps
    /// as (first, last) offset.
    fn check(
        &mut self,
        partition: &TopicPartition,
        delivered: Option<i64>,
        low: i64,
        has_queued: bool,
    ) -> Vec<(i64, i64)> {
        if low < 0 {
            return Vec::new();
        }
        let mut found = Vec::new();
        if let Some(jumps) = self.jumps.get_mut(partition) {
            for jump in jumps.iter_mut() {
                jump.checks += 1;
                if low > jump.from {
                    found.push((jump.from, low.min(jump.to) - 1));
                    jump.checks = CHECKS_MAX;
                }
            }
            jumps.retain(|jump| jump.checks < CHECKS_MAX);
            if jumps.is_empty() {
                self.jumps.remove(partition);
            }
        }
        // Nothing has arrived behind the deleted records, so the reader has not jumped yet
        if let Some(expected) = self.expected(partition, delivered)
            && low > expected
            && !has_queued
            && !self.jumps.contains_key(partition)
        {
            found.push((expected, low - 1));
            self.reported.insert(partition.clone(), low);
        }
        found
    }
}

impl Owner {
    /// Requests the committed offsets of newly assigned partitions.
    pub(super) fn watch_for_gaps(&mut self, partitions: &[TopicPartition]) {
        if self.mode == Mode::Member {
            self.gaps.add_assigned(partitions);
            self.request_starts();
        }
    }

    /// Registers a delivered record, or a position of the reader behind the last one.
    pub(super) fn note_jump(&mut self, partition: &TopicPartition, offset: i64) {
        let delivered = self.partitions.offsets(partition).and_then(Offsets::expected);
        self.gaps.note(partition, delivered, offset);
    }

    /// Runs when librdkafka's statistics arrive: reports the gaps.
    pub(super) fn check_gaps(&mut self, readings: &Readings) {
        self.take_starts();
        let owned: Vec<(TopicPartition, Option<i64>)> = self
            .partitions
            .fetching()
            .map(|(partition, offsets)| (partition.clone(), offsets.expected()))
            .collect();
        for (partition, delivered) in owned {
            // A record that waits until it is due is read, but not delivered
            if self.due.contains(&partition) {
                continue;
            }
            let Some(reading) = readings.get(&partition) else { continue };
            let found = self.gaps.check(&partition, delivered, reading.low, reading.queued > 0);
            for (from, last) in found {
                let group = self.processor.group.as_str();
                self.gaps.reports.add(Gap { group, partition: partition.clone(), from, last });
            }
        }
        self.gaps.reports.send(Instant::now());
    }

    fn request_starts(&mut self) {
        if self.gaps.request.is_some() || self.gaps.unknown.is_empty() {
            return;
        }
        let partitions: Vec<TopicPartition> = self.gaps.unknown.keys().cloned().collect();
        self.gaps.requested = partitions.iter().cloned().collect();
        let (client, names) = (Arc::clone(&self.client), self.names.clone());
        let request = move || committed(&client, &names, &partitions);
        self.gaps.request = Some(telemetry::spawn_blocking(request));
    }

    /// Takes the answer to the last request, and sends the next one if partitions were assigned meanwhile.
    fn take_starts(&mut self) {
        let answered = self.gaps.request.as_mut().and_then(FutureExt::now_or_never);
        if let Some(answer) = answered {
            self.gaps.request = None;
            let mut requested = std::mem::take(&mut self.gaps.requested);
            if let Ok(Some(starts)) = answer {
                for (partition, start) in starts {
                    // A partition that was assigned again meanwhile needs another answer
                    if requested.remove(&partition) {
                        self.gaps.set_start(&partition, start);
                    }
                }
                // Without a committed offset the group reads from the first record, so nothing can be missing
                for partition in requested {
                    self.gaps.unknown.remove(&partition);
                }
            }
        }
        self.request_starts();
    }
}

/// Reads the committed offsets. Runs on a blocking thread. The list is a local variable: one that outlives the consumer would
/// keep it from closing.
fn committed(client: &Client, names: &Names, partitions: &[TopicPartition]) -> Option<Starts> {
    let list = client.committed_offsets(list_of(partitions, names), REQUEST_TIMEOUT).ok()?;
    let start_of = |partition: &TopicPartition| {
        let found = list.find_partition(&names.physical(&partition.topic), partition.partition)?;
        match found.offset() {
            rdkafka::Offset::Offset(start) => Some((partition.clone(), start)),
            _ => None,
        }
    };
    Some(partitions.iter().filter_map(start_of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tp() -> TopicPartition {
        TopicPartition::new("t", 0)
    }

    fn none() -> Vec<(i64, i64)> {
        Vec::new()
    }

    fn assigned() -> Gaps {
        let mut gaps = Gaps::default();
        gaps.add_assigned(&[tp()]);
        gaps
    }

    #[test]
    fn end_of_a_transaction_is_no_gap() {
        let mut gaps = assigned();
        gaps.note(&tp(), Some(5), 6);
        for _ in 0..CHECKS_MAX {
            assert_eq!(gaps.check(&tp(), Some(7), 0, false), none());
        }
        assert_eq!(gaps.check(&tp(), Some(7), 7, false), none(), "it was checked while offset 5 existed");
    }

    #[test]
    fn deletion_below_delivered_is_one_gap() {
        let mut gaps = assigned();
        gaps.note(&tp(), Some(5), 100);
        assert_eq!(
            gaps.check(&tp(), Some(101), 0, false),
            none(),
            "these statistics are older than the jump"
        );
        assert_eq!(gaps.check(&tp(), Some(101), 98, false), vec![(5, 97)], "98 and 99 held no records");
        assert_eq!(gaps.check(&tp(), Some(101), 98, false), none());
    }

    #[test]
    fn deleted_committed_offset_is_a_gap() {
        let mut gaps = assigned();
        gaps.set_start(&tp(), 10);
        assert_eq!(gaps.check(&tp(), None, 20, true), none(), "read records wait to be delivered");
        assert_eq!(gaps.check(&tp(), None, 20, false), vec![(10, 19)]);
        gaps.note(&tp(), None, 20);
        assert_eq!(gaps.check(&tp(), Some(21), 20, false), none(), "reported before");

        let mut gaps = assigned();
        gaps.note(&tp(), None, 20);
        gaps.note(&tp(), Some(21), 21);
        gaps.set_start(&tp(), 10);
        assert_eq!(gaps.check(&tp(), Some(22), 20, false), vec![(10, 19)]);
    }

    #[test]
    fn group_without_a_committed_offset_has_no_gap() {
        let mut gaps = assigned();
        gaps.note(&tp(), None, 20);
        assert_eq!(gaps.check(&tp(), Some(21), 20, false), none());
        assert_eq!(gaps.check(&tp(), None, -1, false), none(), "the first offset is unknown");
    }
}
