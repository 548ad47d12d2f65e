//! Sets of Kafka offsets, stored as ranges, because the offsets of a partition have few gaps.

use std::collections::BTreeMap;

/// Offsets of one partition.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    /// Last offset of each range by its first.
    ranges: BTreeMap<i64, i64>,
}

/// Number of ranges that all sets of a query may still add.
#[derive(Debug)]
pub(crate) struct RangesLeft(pub(crate) usize);

/// Result of adding an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// The set did not have it.
    New,
    /// The set had it.
    Known,
    /// There is no space for it, so it is not known whether it is new.
    Unknown,
}

impl Offsets {
    /// Adds an offset.
    pub(crate) fn add(&mut self, offset: i64, left: &mut RangesLeft) -> Added {
        let before = self.ranges.range(..=offset).next_back().map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| last >= offset) {
            return Added::Known;
        }
        let joined = before.filter(|(_, last)| last.checked_add(1) == Some(offset));
        let next = offset.checked_add(1);
        let is_joined_to_next = next.is_some_and(|next| self.ranges.contains_key(&next));
        if joined.is_none() && !is_joined_to_next {
            let Some(fewer) = left.0.checked_sub(1) else { return Added::Unknown };
            left.0 = fewer;
        }
        let last = next.and_then(|next| self.ranges.remove(&next));
        if joined.is_some() && last.is_some() {
            left.0 += 1;
        }
        let first = joined.map_or(offset, |(first, _)| first);
        self.ranges.insert(first, last.unwrap_or(offset));
        Added::New
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Added::{Known, New},
        *,
    };

    #[test]
    fn neighbouring_offsets_share_a_range() {
        let (mut offsets, mut left) = (Offsets::default(), RangesLeft(3));
        let order = [5, 7, 6, 0, 1, 6, 5, i64::MAX, i64::MAX];
        let added: Vec<_> = order.iter().map(|offset| offsets.add(*offset, &mut left)).collect();
        assert_eq!(added, [New, New, New, New, New, Known, Known, New, Known]);
        assert_eq!(offsets.ranges, BTreeMap::from([(0, 1), (5, 7), (i64::MAX, i64::MAX)]));
        assert_eq!(left.0, 0);
        assert_eq!(offsets.add(100, &mut left), Added::Unknown);
        assert_eq!(offsets.add(8, &mut left), Added::New, "it extends a range");
    }
}
