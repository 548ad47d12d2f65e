//! Fold of the facts of touched buckets into rollups, as a pure plan: what is recomputed, from what, and in which order.

use std::collections::BTreeSet;

use super::bucket::{Bucket, Level};
use super::totals::Totals;

/// Rollups that change when facts are added to a set of buckets. [`Level::summed_from`] names the source of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fold(BTreeSet<(Level, Bucket)>);

impl Fold {
    /// Returns the fold of these buckets of ten seconds.
    #[must_use]
    pub fn of(buckets: impl IntoIterator<Item = Bucket>) -> Self {
        let of_bucket = |bucket: Bucket| Level::ALL.map(|level| (level, bucket.within(level)));
        Self(buckets.into_iter().flat_map(of_bucket).collect())
    }

    /// Returns each rollup once, after all those that it is summed from.
    pub fn rollups(self) -> impl Iterator<Item = (Level, Bucket)> {
        self.0.into_iter()
    }
}

/// A bucket that was just recomputed.
#[derive(Debug)]
pub struct Rollup {
    /// Length of the bucket.
    pub level: Level,
    /// The bucket.
    pub bucket: Bucket,
    /// Its sums.
    pub totals: Totals,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finer_rollups_come_first_and_each_once() {
        let at = |start_s| Bucket { start_s, game: "slots".to_owned(), currency: "EUR".to_owned() };
        let rollups = Fold::of([70, 10, 50, 10].map(at)).rollups();
        let starts: Vec<_> = rollups.map(|(level, bucket)| (level, bucket.start_s)).collect();
        let (ten_seconds, minute) = (Level::TenSeconds, Level::Minute);
        let expected = [
            (ten_seconds, 10),
            (ten_seconds, 50),
            (ten_seconds, 70),
            (minute, 0),
            (minute, 60),
            (Level::Hour, 0),
        ];
        assert_eq!(starts, expected);
    }
}
