//! Part of a topic that an audit reads, by partition: where it begins, how far it was read, and what the broker has deleted.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use bus::{Held, Ranges, Record};

use super::partition::partition_of;

/// Largest difference that is expected between the clocks of the store and of the broker, which stamps the records.
pub(super) const CLOCKS_DIFFER_MS_MAX: i64 = 10_000;

/// Begin of a window.
#[derive(Clone, Debug)]
pub(super) enum Begin {
    /// At the oldest record.
    Oldest,
    /// At the first record of a time, which is at these offsets.
    Time(BTreeMap<i32, i64>),
    /// At the offsets of a mark.
    Mark {
        /// Offsets of the mark.
        offsets: BTreeMap<i32, i64>,
        /// Offsets of the first records of the mark's time. No such record was before the mark.
        of_time: BTreeMap<i32, i64>,
    },
}

/// State of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Partition {
    from: i64,
    next: i64,
    /// End of what is read now.
    end: i64,
    /// End that the partition had when the audit began.
    end_at_start: i64,
    /// The broker may have deleted records that belong to the window.
    is_cut: bool,
    /// There were records before the window, so the topic existed before it.
    has_earlier: bool,
    /// Time of the first record that was read, behind what the broker deleted before it could be read.
    first_ms: Option<i64>,
    /// Offset at which the next audit begins.
    mark: Option<i64>,
}

impl Partition {
    /// Registers that the reader moved to an offset. Records that it passed and that are not on the topic any more may have been
    /// deleted before it could read them. (Others were markers of transactions, or records of aborted ones.)
    fn pass_deleted(&mut self, offset: i64, low: i64) {
        if self.next < offset.min(low) {
            self.is_cut = true;
            // Deleted records may be as young as the next one that is read.
            self.first_ms = None;
        }
    }
}

/// Window of one topic.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    partitions: BTreeMap<i32, Partition>,
    /// Records behind the ends that open transactions hold back.
    held: Held,
}

impl Window {
    /// Creates a window up to the ends of these extents.
    pub(super) fn new(extents: &Ranges, begin: &Begin) -> Self {
        let partition = |(number, extent): (&i32, &std::ops::Range<i64>)| {
            let (low, end) = (extent.start, extent.end);
            let (from, is_cut) = match begin {
                Begin::Oldest => (low, low > 0),
                Begin::Time(offsets) => {
                    let from = offsets.get(number).copied().unwrap_or(low);
                    (from, from == low && low > 0)
                }
                Begin::Mark { offsets, of_time } => match offsets.get(number).copied() {
                    Some(mark) if (low..=end).contains(&mark) => {
                        let first = of_time.get(number).copied().unwrap_or(mark);
                        // Only in a topic that was created again is a record of that time before the mark.
                        (mark.min(first), first < mark)
                    }
                    // deleted, or the topic was created again
                    Some(_) => (low, true),
                    None => (low, low > 0),
                },
            };
            let state = Partition {
                from,
                next: from,
                end,
                end_at_start: end,
                is_cut,
                has_earlier: !is_cut && from > 0,
                first_ms: None,
                mark: None,
            };
            (*number, state)
        };
        Self { partitions: extents.iter().map(partition).collect(), held: Held::new() }
    }

    /// Ends the window where a group has read to. Returns the number of records that this leaves out.
    pub(super) fn limit(&mut self, committed: &BTreeMap<i32, i64>) -> u64 {
        let mut left_out = 0;
        for (number, partition) in &mut self.partitions {
            let read_to = committed.get(number).copied().unwrap_or(0).max(partition.from);
            partition.end = partition.end_at_start.min(read_to);
            left_out += u64::try_from(partition.end_at_start - partition.end).unwrap_or(0);
        }
        left_out
    }

    /// Moves the ends to those that the topic has now.
    ///
    /// # Errors
    /// When the topic is another one now.
    pub(super) fn extend(&mut self, extents: &Ranges) -> Result<()> {
        self.expect_same(extents)?;
        for (number, partition) in &mut self.partitions {
            partition.end = extents.get(number).map_or(partition.end, |extent| extent.end.max(partition.end));
        }
        Ok(())
    }

    /// Registers what was held back when the ends were read.
    pub(super) fn set_held(&mut self, held: Held) {
        self.held = held;
    }

    /// Returns the number of records behind the ends that cannot be read yet.
    pub(super) fn held(&self) -> u64 {
        self.held.values().sum()
    }

    /// Returns true if a record of this player may be among them.
    pub(super) fn may_be_held(&self, player_id: &str) -> bool {
        let number = partition_of(player_id, self.partitions.len());
        number.is_some_and(|number| self.held.contains_key(&number))
    }

    /// Compares with the extents that the topic has now.
    fn expect_same(&self, extents: &Ranges) -> Result<()> {
        let (before, now) = (self.partitions.len(), extents.len());
        if before != now {
            bail!(
                "the topic had {before} partitions when the audit began, and has {now} now: audit once more"
            );
        }
        for (number, partition) in &self.partitions {
            let end = extents.get(number).map_or(0, |extent| extent.end);
            if end < partition.end {
                bail!(
                    "partition {number} ended at offset {} and ends at {end} now, as in a topic that was created again: audit once more",
                    partition.end
                );
            }
        }
        Ok(())
    }

    /// Returns what is not read yet.
    pub(super) fn unread(&self) -> Ranges {
        let unread = self.partitions.iter().filter(|(_, partition)| partition.next < partition.end);
        unread.map(|(number, partition)| (*number, partition.next..partition.end)).collect()
    }

    /// Registers records that were read, of which everything up to `left` was. `extents` were read after them, so what the broker
    /// deleted before it could be read is before the oldest offset. `settled_ms` is the time from which the next audit reads.
    ///
    /// # Errors
    /// When the topic is another one now.
    pub(super) fn advance(
        &mut self,
        requested: &Ranges,
        (left, records): (&Ranges, &[Record]),
        extents: &Ranges,
        settled_ms: i64,
    ) -> Result<()> {
        self.expect_same(extents)?;
        let low = |number: i32| extents.get(&number).map_or(0, |extent| extent.start);
        for record in records {
            let Some(partition) = self.partitions.get_mut(&record.partition) else { continue };
            partition.pass_deleted(record.offset, low(record.partition));
            partition.next = record.offset.saturating_add(1);
            partition.first_ms = partition.first_ms.or(record.timestamp_ms);
            if partition.mark.is_none() && record.timestamp_ms.is_none_or(|at_ms| at_ms >= settled_ms) {
                partition.mark = Some(record.offset);
            }
        }
        for (number, range) in requested {
            let Some(partition) = self.partitions.get_mut(number) else { continue };
            let next = left.get(number).map_or(range.end, |left| left.start);
            partition.pass_deleted(next, low(*number));
            partition.next = next;
        }
        Ok(())
    }

    /// Ends the examination: what is read from now on belongs to the next audit, too.
    pub(super) fn close(&mut self) {
        for partition in self.partitions.values_mut() {
            partition.mark = partition.mark.or(Some(partition.next));
        }
    }

    /// Returns the offsets at which the next audit begins.
    pub(super) fn marks(&self) -> BTreeMap<i32, i64> {
        let mark = |partition: &Partition| partition.mark.unwrap_or(partition.next);
        self.partitions.iter().map(|(number, partition)| (*number, mark(partition))).collect()
    }

    /// Returns true for a record that the window contains.
    pub(super) fn contains(&self, partition: i32, offset: i64) -> bool {
        self.partitions.get(&partition).is_some_and(|partition| offset >= partition.from)
    }

    /// Returns true if a record of this player that followed a document of that time may be deleted.
    pub(super) fn may_be_deleted(&self, player_id: &str, at_ms: i64) -> bool {
        let Some(number) = partition_of(player_id, self.partitions.len()) else { return true };
        let Some(partition) = self.partitions.get(&number) else { return true };
        // The deleted records are older than the first one that is left.
        let is_older = |first_ms: i64| at_ms <= first_ms.saturating_add(CLOCKS_DIFFER_MS_MAX);
        if partition.is_cut {
            return partition.first_ms.is_none_or(is_older);
        }
        // A topic that was created again begins at offset 0, too. It has no record that is older than itself.
        !self.partitions.values().any(|partition| partition.has_earlier)
            && self.oldest_ms().is_none_or(is_older)
    }

    /// Returns the time of the oldest record that was read.
    fn oldest_ms(&self) -> Option<i64> {
        self.partitions.values().filter_map(|partition| partition.first_ms).min()
    }

    /// Returns true if the first record of an event of that time is in the window, so that a later one is a repetition.
    pub(super) fn has_first_appearance(&self, partition: i32, at_ms: i64) -> bool {
        self.partitions.get(&partition).is_some_and(|partition| {
            let is_younger = |first_ms: i64| at_ms >= first_ms.saturating_add(CLOCKS_DIFFER_MS_MAX);
            (partition.from == 0 && !partition.is_cut) || partition.first_ms.is_some_and(is_younger)
        })
    }
}

#[cfg(test)]
mod tests;
