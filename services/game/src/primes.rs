//! Search for prime numbers, with which the fault `game.cpu-spike` burns CPU time.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// First number of the search.
const FIRST: u64 = 1_000_000;

/// Hunts primes from 1 000 000 up for this long. Returns the number of primes found.
///
/// It is a function of its own in the compiled program, so that a CPU profile names it.
#[inline(never)]
pub(crate) fn hunt_primes(within: Duration) -> usize {
    let started = Instant::now();
    // Opaque, so that the compiler does not remove a search whose result is not used.
    let is_found = |number: &u64| black_box(is_prime(*number));
    (FIRST..).take_while(|_| started.elapsed() < within).filter(is_found).count()
}

fn is_prime(number: u64) -> bool {
    (2..).take_while(|divisor| divisor * divisor <= number).all(|divisor| !number.is_multiple_of(divisor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primes_are_found() {
        let primes: Vec<u64> = (FIRST..).filter(|number| is_prime(*number)).take(3).collect();
        assert_eq!(primes, [1_000_003, 1_000_033, 1_000_037]);
    }

    #[test]
    fn hunt_ends_in_time() {
        assert_eq!(hunt_primes(Duration::ZERO), 0);
        let started = Instant::now();
        assert!(hunt_primes(Duration::from_millis(200)) > 0);
        assert!(started.elapsed() >= Duration::from_millis(200));
    }
}
