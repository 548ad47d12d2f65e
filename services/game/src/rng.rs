//! Random stops: ChaCha20 from the rand project, seeded by the operating system in production and by a number in tests.
//!
//! The generator stands outside `domain/`, which only knows [`StopSource`]. An outcome is drawn once and stored before
//! anybody hears of it, so nothing ever has to be drawn again from the same state.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;

use crate::domain::machine::StopSource;

/// The production source of stops.
#[derive(Debug)]
pub struct RandomStops(ChaCha20Rng);

impl RandomStops {
    /// Seeded by the operating system: nobody can know the next stop.
    #[must_use]
    pub fn from_os() -> Self {
        Self(ChaCha20Rng::from_os_rng())
    }

    /// The same stops for the same seed.
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
