//! The offset ledger tracks which offsets may be committed.
//!
//! It guarantees that **the frontier of a partition (the offset to commit) never passes a delivered offset that is not
//! finished**, in any order of completion, for any redelivery and any change of owner. Every committed offset is a frontier of
//! this ledger. The module does no I/O and reads no clock, so the property tests run exactly this code.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

/// A partition of a topic, by the topic's catalogue name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TopicPartition {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
}

impl TopicPartition {
    pub(crate) fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// Number of an assignment in this process. It identifies work that still runs for an earlier assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Epoch(pub(crate) u64);

/// Offset at which a group continues. All offsets to commit in this crate use this convention, because rdkafka has two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NextOffset(pub(crate) i64);

/// Answer of the ledger to a delivered record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// New: handle it under this assignment.
    New(Epoch),
    /// Delivered before under this assignment. Drop it.
    Redelivered,
    /// The partition is not ours, or is being revoked. Drop it.
    NotOurs,
}

/// Answer of the ledger to a record that was finished or given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finished {
    /// The ledger counted it.
    Counted,
    /// It belongs to an ended assignment. The partition's present owner receives the record again.
    Stale,
}

/// A completion of a record that is not in flight: a bug in the owner's bookkeeping.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{partition}: offset {offset} was finished but is not in hand")]
pub(crate) struct NotInHand {
    pub(crate) partition: TopicPartition,
    pub(crate) offset: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    InHand,
    Done,
    /// Given back unfinished. The frontier stays below it for the rest of this assignment.
    Abandoned,
}

/// State of one partition under one assignment.
#[derive(Debug)]
struct Partition {
    epoch: Epoch,
    /// In order of delivery, so ascending. The first entry is the oldest one that is not done.
    entries: VecDeque<(i64, State)>,
    in_hand: usize,
    last_delivered: Option<i64>,
    frontier: Option<NextOffset>,
    committed: Option<NextOffset>,
    leaving: bool,
    /// The reader had no position when this assignment began, so its present position belongs to this assignment.
    is_fresh: bool,
}

impl Partition {
    fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            entries: VecDeque::new(),
            in_hand: 0,
            last_delivered: None,
            frontier: None,
            committed: None,
            leaving: false,
            is_fresh: false,
        }
    }

    fn deliver(&mut self, offset: i64) -> Delivered {
        if self.leaving {
            return Delivered::NotOurs;
        }
        if self.last_delivered.is_some_and(|last| offset <= last) {
            return Delivered::Redelivered;
        }
        self.last_delivered = Some(offset);
        self.entries.push_back((offset, State::InHand));
        self.in_hand += 1;
        Delivered::New(self.epoch)
    }

    /// Returns false when the offset is not in flight.
    fn settle(&mut self, offset: i64, state: State) -> bool {
        let Ok(index) = self.entries.binary_search_by_key(&offset, |(known, _)| *known) else { return false };
        let Some(entry) = self.entries.get_mut(index).filter(|(_, state)| *state == State::InHand) else {
            return false;
        };
        entry.1 = state;
        self.in_hand -= 1;
        while let Some((offset, State::Done)) = self.entries.front() {
            self.frontier = Some(NextOffset(offset + 1));
            self.entries.pop_front();
        }
        true
    }

    /// Moves the frontier to the reader's `position` once everything before it is done. Some offsets before it hold no record
    /// that is ever delivered (the end of a transaction, an aborted record).
    fn reach(&mut self, position: NextOffset) {
        let is_ahead = self.last_delivered.is_none_or(|last| last < position.0)
            && self.frontier.is_none_or(|frontier| frontier < position);
        let is_ours = self.is_fresh || self.last_delivered.is_some();
        if self.leaving || !is_ours || !self.entries.is_empty() || !is_ahead {
            return;
        }
        self.frontier = Some(position);
        self.last_delivered = Some(position.0 - 1);
    }

    fn to_commit(&self) -> Option<NextOffset> {
        self.frontier.filter(|frontier| self.committed < Some(*frontier))
    }
}

/// Ledger of all partitions that this process owns.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    partitions: BTreeMap<TopicPartition, Partition>,
    assignments: u64,
}

impl Ledger {
    /// Begins a new assignment of a partition. Records in flight from an earlier one become stale.
    pub(crate) fn assign(&mut self, partition: TopicPartition) -> Epoch {
        self.assignments += 1;
        let epoch = Epoch(self.assignments);
        self.partitions.insert(partition, Partition::new(epoch));
        epoch
    }

    /// Marks that the reader has no position in this partition yet, so a later position belongs to this assignment.
    pub(crate) fn is_fresh(&mut self, partition: &TopicPartition) {
        if let Some(owned) = self.partitions.get_mut(partition) {
            owned.is_fresh = true;
        }
    }

    /// Takes no more records of a partition. Records in flight may still finish and count.
    pub(crate) fn leave(&mut self, partition: &TopicPartition) {
        if let Some(owned) = self.partitions.get_mut(partition) {
            owned.leaving = true;
        }
    }

    /// Ends an assignment. Later completions do not count.
    pub(crate) fn revoke(&mut self, partition: &TopicPartition) -> Option<Epoch> {
        self.partitions.remove(partition).map(|owned| owned.epoch)
    }

    /// Registers a record from the broker.
    pub(crate) fn deliver(&mut self, partition: &TopicPartition, offset: i64) -> Delivered {
        self.partitions.get_mut(partition).map_or(Delivered::NotOurs, |owned| owned.deliver(offset))
    }

    /// Registers the reader's position: every record below it was delivered. Only for partitions whose records are all registered
    /// as they arrive.
    pub(crate) fn reach(&mut self, partition: &TopicPartition, position: NextOffset) {
        if let Some(owned) = self.partitions.get_mut(partition) {
            owned.reach(position);
        }
    }

    /// Marks a record as handled, or passed for a reason. It needs no redelivery.
    pub(crate) fn complete(
        &mut self,
        partition: &TopicPartition,
        epoch: Epoch,
        offset: i64,
    ) -> Result<Finished, NotInHand> {
        self.settle(partition, epoch, offset, State::Done)
    }

    /// Gives a record back unfinished. It must be redelivered, to this or another member.
    pub(crate) fn abandon(
        &mut self,
        partition: &TopicPartition,
        epoch: Epoch,
        offset: i64,
    ) -> Result<Finished, NotInHand> {
        self.settle(partition, epoch, offset, State::Abandoned)
    }

    fn settle(
        &mut self,
        partition: &TopicPartition,
        epoch: Epoch,
        offset: i64,
        state: State,
    ) -> Result<Finished, NotInHand> {
        match self.partitions.get_mut(partition) {
            Some(owned) if owned.epoch == epoch => {
                if owned.settle(offset, state) {
                    Ok(Finished::Counted)
                } else {
                    Err(NotInHand { partition: partition.clone(), offset })
                }
            }
            _ => Ok(Finished::Stale),
        }
    }

    /// Returns every frontier that the broker does not have yet.
    pub(crate) fn to_commit(&self) -> Vec<(TopicPartition, Epoch, NextOffset)> {
        let dirty = |(partition, owned): (&TopicPartition, &Partition)| {
            owned.to_commit().map(|next| (partition.clone(), owned.epoch, next))
        };
        self.partitions.iter().filter_map(dirty).collect()
    }

    /// Registers a confirmed commit. Ignores the confirmation of an older assignment.
    pub(crate) fn committed(&mut self, partition: &TopicPartition, epoch: Epoch, next: NextOffset) {
        if let Some(owned) = self.partitions.get_mut(partition).filter(|owned| owned.epoch == epoch) {
            owned.committed = owned.committed.max(Some(next));
        }
    }

    /// Returns the frontier of this partition under the present assignment.
    pub(crate) fn frontier(&self, partition: &TopicPartition) -> Option<NextOffset> {
        self.partitions.get(partition).and_then(|owned| owned.frontier)
    }

    /// Number of records of this partition that are neither done nor given back.
    pub(crate) fn in_hand(&self, partition: &TopicPartition) -> usize {
        self.partitions.get(partition).map_or(0, |owned| owned.in_hand)
    }

    /// Number of records from the frontier to the last delivered one, done or not. They occupy memory and would be redelivered
    /// after a crash.
    pub(crate) fn ahead(&self, partition: &TopicPartition) -> usize {
        self.partitions.get(partition).map_or(0, |owned| owned.entries.len())
    }

    /// Returns the offset after the last one that was delivered or passed under this assignment.
    pub(crate) fn expected(&self, partition: &TopicPartition) -> Option<i64> {
        self.partitions.get(partition)?.last_delivered.map(|last| last + 1)
    }

    /// Returns the partitions that may be fetched: owned, and not being revoked.
    pub(crate) fn fetching(&self) -> impl Iterator<Item = &TopicPartition> {
        self.partitions.iter().filter(|(_, owned)| !owned.leaving).map(|(partition, _)| partition)
    }

    pub(crate) fn owned(&self) -> impl Iterator<Item = &TopicPartition> {
        self.partitions.keys()
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
