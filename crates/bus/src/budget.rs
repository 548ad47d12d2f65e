//! The memory budget of the records in flight.
//!
//! It guarantees that **the records in flight exceed the budget by at most one record**. **One partition exceeds its share by at
//! most one record**, so a blocked record costs bounded memory and pauses only its own partition. The module does no I/O and
//! reads no clock.

use std::collections::BTreeMap;

use crate::partitions::TopicPartition;

/// A partition's share of the budget is the budget divided by this.
const SHARES: usize = 4;

/// Records and bytes in flight. Pausing discards what librdkafka has prefetched, so it must be rare: fetching pauses at the limit
/// and resumes only at half of it.
#[derive(Debug)]
pub(crate) struct Budget {
    records_max: usize,
    bytes_max: usize,
    records: usize,
    bytes: usize,
    full: bool,
    shares: BTreeMap<TopicPartition, Share>,
}

/// Bytes in flight of one partition.
#[derive(Debug, Default)]
struct Share {
    bytes: usize,
    full: bool,
}

impl Budget {
    pub(crate) fn new(records_max: usize, bytes_max: usize) -> Self {
        Self { records_max, bytes_max, records: 0, bytes: 0, full: false, shares: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, partition: &TopicPartition, bytes: usize) {
        self.records += 1;
        self.bytes += bytes;
        self.full |= self.records >= self.records_max || self.bytes >= self.bytes_max;
        match self.shares.get_mut(partition) {
            Some(share) => share.bytes += bytes,
            None => drop(self.shares.insert(partition.clone(), Share { bytes, full: false })),
        }
    }

    pub(crate) fn release(&mut self, partition: &TopicPartition, bytes: usize) {
        assert!(self.records > 0 && self.bytes >= bytes, "released more than was added");
        self.records -= 1;
        self.bytes -= bytes;
        if self.records <= self.records_max / 2 && self.bytes <= self.bytes_max / 2 {
            self.full = false;
        }
        if let Some(share) = self.shares.get_mut(partition) {
            share.bytes = share.bytes.saturating_sub(bytes);
        }
    }

    /// Returns true while all fetching must pause.
    #[cfg(test)]
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// Returns true while fetching from this partition must pause. `ahead` counts its records from the first unfinished one to
    /// the last delivered one, including finished ones in between.
    pub(crate) fn must_pause(&mut self, partition: &TopicPartition, ahead: usize) -> bool {
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

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
