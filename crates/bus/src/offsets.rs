//! Offsets of one partition under one assignment: which records are in flight, and what may be committed.
//!
//! It guarantees that **the frontier (the offset to commit) never passes a delivered offset that is not finished**, in any order
//! of completion and for any redelivery. The module does no I/O and reads no clock, so the property tests run exactly this code.

use std::collections::VecDeque;

/// Offset at which a group continues. All offsets to commit in this crate use this convention, because rdkafka has two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NextOffset(pub(crate) i64);

/// End of a delivered record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordEnd {
    /// Handled, or passed for a reason. It needs no redelivery.
    Done,
    /// Given back unfinished. The frontier stays below it for the rest of this assignment.
    Abandoned,
}

/// Offsets of one partition under one assignment.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    /// In order of delivery, so ascending. The first entry is the oldest one that is not done. None while in flight.
    entries: VecDeque<(i64, Option<RecordEnd>)>,
    in_flight: usize,
    last_delivered: Option<i64>,
    frontier: Option<NextOffset>,
    committed: Option<NextOffset>,
    /// The reader had no position when this assignment began, so its present position belongs to this assignment.
    is_fresh: bool,
}

impl Offsets {
    /// Marks that the reader has no position yet, so a later position belongs to this assignment.
    pub(crate) fn mark_fresh(&mut self) {
        self.is_fresh = true;
    }

    /// Registers a record from the broker. Returns false if it was delivered before.
    pub(crate) fn deliver(&mut self, offset: i64) -> bool {
        if self.last_delivered.is_some_and(|last| offset <= last) {
            return false;
        }
        self.last_delivered = Some(offset);
        self.entries.push_back((offset, None));
        self.in_flight += 1;
        true
    }

    /// Ends a record in flight. Returns false when the offset is not in flight.
    pub(crate) fn finish(&mut self, offset: i64, end: RecordEnd) -> bool {
        let Ok(index) = self.entries.binary_search_by_key(&offset, |(known, _)| *known) else { return false };
        let Some(entry) = self.entries.get_mut(index).filter(|(_, end)| end.is_none()) else { return false };
        entry.1 = Some(end);
        self.in_flight -= 1;
        while let Some((offset, Some(RecordEnd::Done))) = self.entries.front() {
            self.frontier = Some(NextOffset(offset + 1));
            self.entries.pop_front();
        }
        true
    }

    /// Moves the frontier to the reader's `position` once everything before it is done. Some offsets before it hold no record
    /// that is ever delivered (the end of a transaction, an aborted record).
    pub(crate) fn reach(&mut self, position: NextOffset) {
        let is_ahead = self.last_delivered.is_none_or(|last| last < position.0)
            && self.frontier.is_none_or(|frontier| frontier < position);
        let is_ours = self.is_fresh || self.last_delivered.is_some();
        if is_ours && self.entries.is_empty() && is_ahead {
            self.frontier = Some(position);
            self.last_delivered = Some(position.0 - 1);
        }
    }

    /// Returns the frontier if the broker does not have it yet.
    pub(crate) fn to_commit(&self) -> Option<NextOffset> {
        self.frontier.filter(|frontier| self.committed < Some(*frontier))
    }

    /// Registers a confirmed commit.
    pub(crate) fn mark_committed(&mut self, next: NextOffset) {
        self.committed = self.committed.max(Some(next));
    }

    pub(crate) fn frontier(&self) -> Option<NextOffset> {
        self.frontier
    }

    /// Number of records that are neither done nor given back.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Number of records from the frontier to the last delivered one, done or not. They occupy memory and would be redelivered
    /// after a crash.
    pub(crate) fn ahead(&self) -> usize {
        self.entries.len()
    }

    /// Returns the offset after the last one that was delivered or passed.
    pub(crate) fn expected(&self) -> Option<i64> {
        self.last_delivered.map(|last| last + 1)
    }
}
