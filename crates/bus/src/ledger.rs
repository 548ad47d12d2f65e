//! The offset ledger: what may be committed, and never more.
//!
//! Promise: **the frontier of a partition never passes an offset that was delivered and is not finished**, whatever
//! order records finish in, however often they come, and whoever owned the partition before. Everything that is
//! committed is a frontier of this ledger. No I/O, no clock: the property tests drive exactly this code.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

/// A partition of a topic, by the catalogue's name.
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

/// Counts the assignments of this process. What an earlier assignment still has running is told apart by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Epoch(pub(crate) u64);

/// The offset that a group would continue at. The one convention for offsets to commit in this crate: rdkafka has two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NextOffset(pub(crate) i64);

/// What the ledger says about a record that was just delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// Work on it, under this assignment.
    New(Epoch),
    /// It came before under this assignment: in hand or done. Drop it.
    Redelivered,
    /// The partition is not ours, or is moving away. Drop it.
    NotOurs,
}

/// What the ledger says about a record that was finished or given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finished {
    /// It counts.
    Counted,
    /// It belongs to an assignment that is over: whoever has the partition now gets it again.
    Stale,
}

/// A completion that cannot be: the owner's books are wrong.
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

/// One partition under one assignment.
#[derive(Debug)]
struct Partition {
    epoch: Epoch,
    /// In the order of delivery, so ascending; starts at the oldest that is not done.
    entries: VecDeque<(i64, State)>,
    in_hand: usize,
    last_delivered: Option<i64>,
    frontier: Option<NextOffset>,
    committed: Option<NextOffset>,
    leaving: bool,
    /// The reader had no position when this assignment began, so the one that it has now is of this assignment.
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

    /// False when the offset is not in hand.
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

    /// The reader stands at `position`, behind offsets that no record will ever come for (the end of a transaction, an
    /// aborted record): they are passed once everything before them is done.
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

/// The ledger of all partitions that this process owns.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    partitions: BTreeMap<TopicPartition, Partition>,
    assignments: u64,
}

impl Ledger {
    /// Begins a new assignment of a partition. Whatever an earlier one had in hand is stale from here on.
    pub(crate) fn assign(&mut self, partition: TopicPartition) -> Epoch {
        self.assignments += 1;
        let epoch = Epoch(self.assignments);
        self.partitions.insert(partition, Partition::new(epoch));
        epoch
    }

    /// The reader has no position in this partition yet: one that it has later is of this assignment.
    pub(crate) fn is_fresh(&mut self, partition: &TopicPartition) {
        if let Some(owned) = self.partitions.get_mut(partition) {
            owned.is_fresh = true;
        }
    }

    /// Takes no more records of a partition; what is in hand may still finish and count.
    pub(crate) fn leave(&mut self, partition: &TopicPartition) {
        if let Some(owned) = self.partitions.get_mut(partition) {
            owned.leaving = true;
        }
    }

    /// Ends an assignment: nothing counts any more.
    pub(crate) fn revoke(&mut self, partition: &TopicPartition) -> Option<Epoch> {
        self.partitions.remove(partition).map(|owned| owned.epoch)
    }

    /// A record came from the broker.
    pub(crate) fn deliver(&mut self, partition: &TopicPartition, offset: i64) -> Delivered {
        self.partitions.get_mut(partition).map_or(Delivered::NotOurs, |owned| owned.deliver(offset))
    }

    /// The reader stands there: everything below was delivered, or never will be. Only for partitions whose records are
    /// all taken in hand as they come.
    pub(crate) fn reach(&mut self, partition: &TopicPartition, position: NextOffset) {
        if let Some(owned) = self.partitions.get_mut(partition) {
            owned.reach(position);
        }
    }

    /// A record was handled, or passed for a reason: it never has to come again.
    pub(crate) fn complete(
        &mut self,
        partition: &TopicPartition,
        epoch: Epoch,
        offset: i64,
    ) -> Result<Finished, NotInHand> {
        self.settle(partition, epoch, offset, State::Done)
    }

    /// A record was given back unfinished: it must come again, to us or to another member.
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

    /// Every frontier that the broker does not know yet.
    pub(crate) fn to_commit(&self) -> Vec<(TopicPartition, Epoch, NextOffset)> {
        let dirty = |(partition, owned): (&TopicPartition, &Partition)| {
            owned.to_commit().map(|next| (partition.clone(), owned.epoch, next))
        };
        self.partitions.iter().filter_map(dirty).collect()
    }

    /// The broker confirmed a commit. An older assignment's confirmation is ignored.
    pub(crate) fn committed(&mut self, partition: &TopicPartition, epoch: Epoch, next: NextOffset) {
        if let Some(owned) = self.partitions.get_mut(partition).filter(|owned| owned.epoch == epoch) {
            owned.committed = owned.committed.max(Some(next));
        }
    }

    /// How far this partition is finished, under the present assignment.
    pub(crate) fn frontier(&self, partition: &TopicPartition) -> Option<NextOffset> {
        self.partitions.get(partition).and_then(|owned| owned.frontier)
    }

    /// Records of this partition that are neither done nor given back.
    pub(crate) fn in_hand(&self, partition: &TopicPartition) -> usize {
        self.partitions.get(partition).map_or(0, |owned| owned.in_hand)
    }

    /// Records from the frontier to the last that was delivered, done or not: what this partition costs in memory, and
    /// what would come again after a crash.
    pub(crate) fn ahead(&self, partition: &TopicPartition) -> usize {
        self.partitions.get(partition).map_or(0, |owned| owned.entries.len())
    }

    /// The offset after the last that was delivered (or passed) under this assignment.
    pub(crate) fn expected(&self, partition: &TopicPartition) -> Option<i64> {
        self.partitions.get(partition)?.last_delivered.map(|last| last + 1)
    }

    /// The partitions that may be fetched from: owned, and not moving away.
    pub(crate) fn fetching(&self) -> impl Iterator<Item = &TopicPartition> {
        self.partitions.iter().filter(|(_, owned)| !owned.leaving).map(|(partition, _)| partition)
    }

    /// Every owned partition.
    pub(crate) fn owned(&self) -> impl Iterator<Item = &TopicPartition> {
        self.partitions.keys()
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
