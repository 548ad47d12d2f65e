//! The state of every partition that this process reads: offsets, revocation and pause.
//!
//! It guarantees that **every committed offset is a frontier of the present assignment**, for any change of owner, and that **a
//! partition that this consumer did not pause is never resumed**. The module does no I/O and reads no clock.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::offsets::{NextOffset, Offsets, RecordEnd};

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

/// Result of registering a delivered record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// New: handle it under this assignment.
    New(Epoch),
    /// Delivered before under this assignment. Drop it.
    Redelivered,
    /// The partition is not ours, or is being revoked. Drop it.
    NotOurs,
}

/// Result of registering a record that was finished or given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finished {
    /// It counts.
    Counted,
    /// It belongs to an ended assignment. The partition's present owner receives the record again.
    Stale,
}

/// A completion of a record that is not in flight: a bug in the owner's bookkeeping.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{partition}: offset {offset} was finished but is not in flight")]
pub(crate) struct NotInFlight {
    pub(crate) partition: TopicPartition,
    pub(crate) offset: i64,
}

/// Partitions that librdkafka must pause and resume.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PauseChange {
    pub(crate) pause: Vec<TopicPartition>,
    pub(crate) resume: Vec<TopicPartition>,
}

/// All that is known of one partition.
#[derive(Debug, Default)]
struct PartitionState {
    /// librdkafka keeps a pause across a revocation and the next assignment. A partition that was revoked while paused would
    /// never be fetched again without a resume, so this flag also outlives the assignment.
    is_paused: bool,
    assignment: Option<Assignment>,
}

#[derive(Debug)]
struct Assignment {
    epoch: Epoch,
    offsets: Offsets,
    /// The partition is being revoked. No more records of it are taken. Those in flight may still finish and count.
    is_leaving: bool,
    /// Cancelled when the partition is revoked or the process stops. A record that waits for its next attempt is then given back.
    cancellation: CancellationToken,
    /// Cancelled when this assignment ends. The partition may have another owner then.
    ended: CancellationToken,
}

impl Assignment {
    fn end(&self) {
        self.cancellation.cancel();
        self.ended.cancel();
    }
}

/// The partitions that this process owns, and those that it owned and paused.
#[derive(Debug, Default)]
pub(crate) struct Partitions {
    states: BTreeMap<TopicPartition, PartitionState>,
    assignments: u64,
}

impl Partitions {
    /// Begins a new assignment of a partition. Records in flight from an earlier one become stale.
    pub(crate) fn assign(&mut self, partition: TopicPartition) -> Epoch {
        self.assignments += 1;
        let epoch = Epoch(self.assignments);
        let (cancellation, ended) = (CancellationToken::new(), CancellationToken::new());
        let assignment =
            Assignment { epoch, offsets: Offsets::default(), is_leaving: false, cancellation, ended };
        let before = self.states.entry(partition).or_default().assignment.replace(assignment);
        if let Some(before) = before {
            before.end();
        }
        epoch
    }

    /// Marks that the reader has no position in this partition yet, so a later position belongs to this assignment.
    pub(crate) fn mark_fresh(&mut self, partition: &TopicPartition) {
        if let Some(assigned) = self.assigned_mut(partition) {
            assigned.offsets.mark_fresh();
        }
    }

    /// Takes no more records of a partition. Records in flight may still finish and count.
    pub(crate) fn leave(&mut self, partition: &TopicPartition) {
        if let Some(assigned) = self.assigned_mut(partition) {
            assigned.is_leaving = true;
            assigned.cancellation.cancel();
        }
    }

    /// Ends an assignment. Later completions do not count.
    pub(crate) fn revoke(&mut self, partition: &TopicPartition) {
        let state = self.states.get_mut(partition);
        if let Some(assigned) = state.and_then(|state| state.assignment.take()) {
            assigned.end();
        }
    }

    /// Gives back all records that wait for their next attempt.
    pub(crate) fn cancel_all(&self) {
        self.assigned().for_each(|(_, assigned)| assigned.cancellation.cancel());
    }

    /// Returns the token that is cancelled when the partition is revoked or the process stops.
    pub(crate) fn cancellation(&self, partition: &TopicPartition) -> CancellationToken {
        let assigned = self.states.get(partition).and_then(|state| state.assignment.as_ref());
        assigned.map(|assigned| assigned.cancellation.clone()).unwrap_or_default()
    }

    /// Returns the token that is cancelled when the present assignment of the partition ends.
    pub(crate) fn ended(&self, partition: &TopicPartition) -> CancellationToken {
        let assigned = self.states.get(partition).and_then(|state| state.assignment.as_ref());
        assigned.map(|assigned| assigned.ended.clone()).unwrap_or_default()
    }

    /// Registers a record from the broker.
    pub(crate) fn deliver(&mut self, partition: &TopicPartition, offset: i64) -> Delivered {
        let Some(assigned) = self.fetching_mut(partition) else { return Delivered::NotOurs };
        match assigned.offsets.deliver(offset) {
            true => Delivered::New(assigned.epoch),
            false => Delivered::Redelivered,
        }
    }

    /// Registers the reader's position: every record below it was delivered. Only for partitions whose records are all registered
    /// as they arrive.
    pub(crate) fn reach(&mut self, partition: &TopicPartition, position: NextOffset) {
        if let Some(assigned) = self.fetching_mut(partition) {
            assigned.offsets.reach(position);
        }
    }

    /// Registers the end of a record: done, or abandoned so that this or another member receives it again.
    pub(crate) fn finish(
        &mut self,
        partition: &TopicPartition,
        epoch: Epoch,
        offset: i64,
        end: RecordEnd,
    ) -> Result<Finished, NotInFlight> {
        let assigned = self.assigned_mut(partition).filter(|assigned| assigned.epoch == epoch);
        match assigned.map(|assigned| assigned.offsets.finish(offset, end)) {
            Some(true) => Ok(Finished::Counted),
            Some(false) => Err(NotInFlight { partition: partition.clone(), offset }),
            None => Ok(Finished::Stale),
        }
    }

    /// Returns every frontier that the broker does not have yet.
    pub(crate) fn to_commit(&self) -> Vec<(TopicPartition, Epoch, NextOffset)> {
        let dirty = |(partition, assigned): (&TopicPartition, &Assignment)| {
            assigned.offsets.to_commit().map(|next| (partition.clone(), assigned.epoch, next))
        };
        self.assigned().filter_map(dirty).collect()
    }

    /// Registers a confirmed commit. Ignores the confirmation of an older assignment.
    pub(crate) fn mark_committed(&mut self, partition: &TopicPartition, epoch: Epoch, next: NextOffset) {
        if let Some(assigned) = self.assigned_mut(partition).filter(|assigned| assigned.epoch == epoch) {
            assigned.offsets.mark_committed(next);
        }
    }

    /// Returns the offsets of a partition that is assigned here.
    pub(crate) fn offsets(&self, partition: &TopicPartition) -> Option<&Offsets> {
        self.states.get(partition)?.assignment.as_ref().map(|assigned| &assigned.offsets)
    }

    /// Number of records of this partition that are neither done nor given back.
    pub(crate) fn in_flight(&self, partition: &TopicPartition) -> usize {
        self.offsets(partition).map_or(0, Offsets::in_flight)
    }

    /// Returns the partitions that may be fetched: owned, and not being revoked.
    pub(crate) fn fetching(&self) -> impl Iterator<Item = (&TopicPartition, &Offsets)> {
        let fetched = self.assigned().filter(|(_, assigned)| !assigned.is_leaving);
        fetched.map(|(partition, assigned)| (partition, &assigned.offsets))
    }

    /// Returns the partitions that are assigned here, with their offsets.
    pub(crate) fn owned(&self) -> impl Iterator<Item = (&TopicPartition, &Offsets)> {
        self.assigned().map(|(partition, assigned)| (partition, &assigned.offsets))
    }

    pub(crate) fn is_paused(&self, partition: &TopicPartition) -> bool {
        self.states.get(partition).is_some_and(|state| state.is_paused)
    }

    pub(crate) fn is_any_paused(&self) -> bool {
        self.states.values().any(|state| state.is_paused)
    }

    /// Marks newly assigned partitions as not paused. Returns those that are still paused from before, which the caller must
    /// resume.
    pub(crate) fn clear_pauses(&mut self, partitions: &[TopicPartition]) -> Vec<TopicPartition> {
        let was_paused = |partition: &&TopicPartition| {
            let state = self.states.get_mut(*partition);
            state.is_some_and(|state| std::mem::take(&mut state.is_paused))
        };
        partitions.iter().filter(was_paused).cloned().collect()
    }

    /// Updates the pauses of the fetched partitions, and returns the difference. `must_pause` also receives the number of records
    /// from the frontier to the last delivered one.
    pub(crate) fn update_pauses(
        &mut self,
        mut must_pause: impl FnMut(&TopicPartition, usize) -> bool,
    ) -> PauseChange {
        let mut change = PauseChange::default();
        for (partition, state) in &mut self.states {
            let fetched = state.assignment.as_ref().filter(|assigned| !assigned.is_leaving);
            let Some(assigned) = fetched else { continue };
            let is_paused = must_pause(partition, assigned.offsets.ahead());
            match (state.is_paused, is_paused) {
                (false, true) => change.pause.push(partition.clone()),
                (true, false) => change.resume.push(partition.clone()),
                _ => {}
            }
            state.is_paused = is_paused;
        }
        change
    }

    fn assigned(&self) -> impl Iterator<Item = (&TopicPartition, &Assignment)> {
        self.states.iter().filter_map(|(partition, state)| Some((partition, state.assignment.as_ref()?)))
    }

    fn fetching_mut(&mut self, partition: &TopicPartition) -> Option<&mut Assignment> {
        self.assigned_mut(partition).filter(|assigned| !assigned.is_leaving)
    }

    fn assigned_mut(&mut self, partition: &TopicPartition) -> Option<&mut Assignment> {
        self.states.get_mut(partition)?.assignment.as_mut()
    }
}

#[cfg(test)]
#[path = "partitions_tests.rs"]
mod tests;
