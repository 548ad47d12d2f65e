//! Backoff between the attempts at a record.

use std::time::Duration;

/// Exponential backoff with jitter in its upper half, so that many lanes that failed together do not retry together.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    next_ms: u64,
    max_ms: u64,
}

impl Backoff {
    pub(crate) fn new(min_ms: u64, max_ms: u64) -> Self {
        Self { next_ms: min_ms.max(1), max_ms: max_ms.max(min_ms).max(1) }
    }

    /// Returns the next pause. `jitter` is a random number in 0..=1.
    pub(crate) fn next(&mut self, jitter: f64) -> Duration {
        let full = Duration::from_millis(self.next_ms);
        self.next_ms = self.next_ms.saturating_mul(2).min(self.max_ms);
        full.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_limit_within_the_jitter() {
        let mut backoff = Backoff::new(50, 300);
        let bounds = [(25, 50), (50, 100), (100, 200), (150, 300), (150, 300)];
        for (index, (low, high)) in bounds.into_iter().enumerate() {
            let jitter = [0.0, 1.0, 0.5, 0.9, -3.0][index];
            let pause = backoff.next(jitter).as_millis();
            assert!((low..=high).contains(&pause), "pause {index} is {pause} ms");
        }
    }
}
