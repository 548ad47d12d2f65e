//! Percentiles of durations in bounded memory.

/// Largest number of values that are kept. After it every second value is kept, then every fourth, and so on.
const KEPT_MAX: usize = 2_048;

/// Durations of one row, thinned out evenly when there are many.
#[derive(Debug)]
pub(crate) struct Durations {
    kept: Vec<f64>,
    /// Every `stride`th value is kept.
    stride: u64,
    seen: u64,
}

impl Default for Durations {
    fn default() -> Self {
        Self { kept: Vec::new(), stride: 1, seen: 0 }
    }
}

impl Durations {
    /// Adds a value.
    pub(crate) fn add(&mut self, milliseconds: f64) {
        if self.seen.is_multiple_of(self.stride) {
            if self.kept.len() == KEPT_MAX {
                let mut position = 0_usize;
                self.kept.retain(|_| {
                    position += 1;
                    position % 2 == 1
                });
                self.stride = self.stride.saturating_mul(2);
            }
            if self.seen.is_multiple_of(self.stride) {
                self.kept.push(milliseconds);
            }
        }
        self.seen = self.seen.saturating_add(1);
    }

    /// Returns the value below which this share of the values is, by the nearest rank. `None` without values.
    pub(crate) fn percentile(&self, percent: usize) -> Option<f64> {
        let mut sorted = self.kept.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() * percent).div_ceil(100);
        sorted.get(rank.saturating_sub(1)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentile_is_the_nearest_rank() {
        let mut durations = Durations::default();
        assert_eq!(durations.percentile(95), None);
        for value in (1..=100).rev() {
            durations.add(f64::from(value));
        }
        assert_eq!([50, 95, 100].map(|percent| durations.percentile(percent)), [50.0, 95.0, 100.0].map(Some));
    }

    #[test]
    fn many_values_are_thinned_out_evenly() {
        let mut durations = Durations::default();
        for value in 0..100_000 {
            durations.add(f64::from(value));
        }
        assert!(durations.kept.len() <= KEPT_MAX);
        let p95 = durations.percentile(95).expect("values");
        assert!((94_000.0..=96_000.0).contains(&p95), "{p95}");
    }
}
