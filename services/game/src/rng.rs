//! Source of random stops: ChaCha20, seeded by the operating system in production and by a number in tests.
//!
//! The generator is kept outside `domain/`, which only knows [`StopSource`]. An outcome is drawn once and stored before it is
//! published, so no outcome has to be reproduced from a generator state.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;

use crate::domain::slot_machine::StopSource;

/// Production implementation of [`StopSource`].
#[derive(Debug)]
pub struct RandomStops(ChaCha20Rng);

impl RandomStops {
    /// Creates a generator seeded by the operating system, so that no one can predict the next stop.
    #[must_use]
    pub fn from_os() -> Self {
        Self(ChaCha20Rng::from_os_rng())
    }

    /// Creates a generator that returns the same stops for the same seed.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Self(ChaCha20Rng::seed_from_u64(seed))
    }
}

impl StopSource for RandomStops {
    fn stop(&mut self, stops: usize) -> usize {
        self.0.random_range(0..stops)
    }
}
