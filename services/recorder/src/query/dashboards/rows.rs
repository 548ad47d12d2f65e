//! Rows of a table by their key, limited in number.

use std::collections::BTreeMap;

/// Largest number of rows of one table. Spans of further keys are counted as left out.
const ROWS_MAX: usize = 500;

/// Rows by key.
#[derive(Debug)]
pub(super) struct Rows<K, V> {
    rows: BTreeMap<K, V>,
    left_out: u64,
}

impl<K, V> Default for Rows<K, V> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), left_out: 0 }
    }
}

impl<K: Ord, V: Default> Rows<K, V> {
    /// Returns the row of a key. `None` when there are too many, which is counted.
    pub(super) fn row(&mut self, key: K) -> Option<&mut V> {
        if self.rows.len() >= ROWS_MAX && !self.rows.contains_key(&key) {
            self.left_out += 1;
            return None;
        }
        Some(self.rows.entry(key).or_default())
    }

    /// Returns the number of spans whose row does not exist.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Converts the rows, and sorts them by a number, the largest first.
    pub(super) fn sorted<T>(self, convert: impl Fn(K, V) -> T, by: impl Fn(&T) -> f64) -> Vec<T> {
        let mut rows: Vec<T> = self.rows.into_iter().map(|(key, value)| convert(key, value)).collect();
        rows.sort_by(|a, b| by(b).total_cmp(&by(a)));
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_above_the_limit_are_counted() {
        let mut rows: Rows<usize, u64> = Rows::default();
        for key in 0..ROWS_MAX + 3 {
            if let Some(row) = rows.row(key) {
                *row += 1;
            }
        }
        assert!(rows.row(0).is_some(), "a known key has its row");
        assert_eq!(rows.left_out(), 3);
        let sorted = rows.sorted(|key, _| key, |key| *key as f64);
        assert_eq!((sorted.len(), sorted[0]), (ROWS_MAX, ROWS_MAX - 1));
    }
}
