//! The memory budget, and the set of partitions that we ourselves paused.
//!
//! Promises: **what is held never exceeds the budget by more than one record**; **one partition never takes more than its
//! share of it**, so that one record that stands still costs bounded memory and rests its own partition only; and **we
//! never resume a partition that we did not pause**. No I/O, no clock.

use std::collections::{BTreeMap, BTreeSet};

use crate::ledger::TopicPartition;

/// One partition's share of the budget is one part of this many.
const SHARES: usize = 4;

/// Records and bytes in hand. Fetching stops at the limit and starts again below half of it: pausing throws away what
/// librdkafka had fetched ahead, so it must be rare.
#[derive(Debug)]
pub(crate) struct Budget {
    records_max: usize,
    bytes_max: usize,
    records: usize,
    bytes: usize,
    full: bool,
    shares: BTreeMap<TopicPartition, Share>,
}

/// What one partition holds.
#[derive(Debug, Default)]
struct Share {
    bytes: usize,
    full: bool,
}

impl Budget {
    pub(crate) fn new(records_max: usize, bytes_max: usize) -> Self {
        Self { records_max, bytes_max, records: 0, bytes: 0, full: false, shares: BTreeMap::new() }
    }

    pub(crate) fn take(&mut self, partition: &TopicPartition, bytes: usize) {
        self.records += 1;
        self.bytes += bytes;
        self.full |= self.records >= self.records_max || self.bytes >= self.bytes_max;
        match self.shares.get_mut(partition) {
            Some(share) => share.bytes += bytes,
            None => drop(self.shares.insert(partition.clone(), Share { bytes, full: false })),
        }
    }

    pub(crate) fn give_back(&mut self, partition: &TopicPartition, bytes: usize) {
        assert!(self.records > 0 && self.bytes >= bytes, "gave back more than was taken");
        self.records -= 1;
        self.bytes -= bytes;
        if self.records <= self.records_max / 2 && self.bytes <= self.bytes_max / 2 {
            self.full = false;
        }
        if let Some(share) = self.shares.get_mut(partition) {
            share.bytes = share.bytes.saturating_sub(bytes);
        }
    }

    /// Whether fetching has to rest altogether.
    #[cfg(test)]
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// Whether fetching this partition has to rest. `ahead` are its records from the first unfinished to the last
    /// delivered, those in between that are done included.
    pub(crate) fn rests(&mut self, partition: &TopicPartition, ahead: usize) -> bool {
        let (ahead_max, bytes_max) = ((self.records_max / SHARES).max(2), (self.bytes_max / SHARES).max(1));
        let Some(share) = self.shares.get_mut(partition) else { return self.full };
        if ahead >= ahead_max || share.bytes >= bytes_max {
            share.full = true;
        } else if ahead <= ahead_max / 2 && share.bytes <= bytes_max / 2 {
            share.full = false;
        }
        self.full || share.full
    }

    pub(crate) fn records(&self) -> usize {
        self.records
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What to tell librdkafka so that it agrees with what we want.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PauseChange {
    pub(crate) pause: Vec<TopicPartition>,
    pub(crate) resume: Vec<TopicPartition>,
}

/// The partitions that we paused.
///
/// librdkafka keeps a pause while a partition is away, and over the next assignment: one that left while it was paused is
/// never fetched again until somebody resumes it. So this set outlives assignments too.
#[derive(Debug, Default)]
pub(crate) struct PausedSet {
    paused: BTreeSet<TopicPartition>,
}

impl PausedSet {
    /// Partitions came (again). Those of them that are still paused from the last time: they have to be resumed.
    pub(crate) fn came<'a>(
        &mut self,
        partitions: impl IntoIterator<Item = &'a TopicPartition>,
    ) -> Vec<TopicPartition> {
        partitions.into_iter().filter_map(|partition| self.paused.take(partition)).collect()
    }

    /// Nothing is paused.
    pub(crate) fn is_empty(&self) -> bool {
        self.paused.is_empty()
    }

    /// Whether this one is paused.
    pub(crate) fn contains(&self, partition: &TopicPartition) -> bool {
        self.paused.contains(partition)
    }

    /// Moves to what is wanted for the partitions that are owned now.
    pub(crate) fn change<'a>(
        &mut self,
        mut wants_paused: impl FnMut(&TopicPartition) -> bool,
        owned: impl Iterator<Item = &'a TopicPartition>,
    ) -> PauseChange {
        let mut change = PauseChange::default();
        for partition in owned {
            let want_paused = wants_paused(partition);
            if want_paused && self.paused.insert(partition.clone()) {
                change.pause.push(partition.clone());
            } else if !want_paused && self.paused.remove(partition) {
                change.resume.push(partition.clone());
            }
        }
        change
    }
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
