//! Exact return to player (RTP) of a machine, computed by enumerating every combination of stops.
//!
//! It guarantees that the published return is true: ten million spins of the production function have to pass
//! [`Statistics::agrees_with`], which calculates in whole numbers only.

use super::reels::{PayTable, REELS, Strip};

/// Number of standard deviations that a sample may differ from the exact return.
pub const SIGMAS: i128 = 4;

/// Sums over all combinations of stops. Every combination is equally likely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Number of combinations.
    pub combinations: u64,
    /// Sum of the multipliers over all combinations.
    pub sum: u64,
    /// Sum of the squared multipliers, for the variance.
    pub sum_of_squares: u64,
    /// Number of combinations that pay anything.
    pub paying: u64,
}

/// A fraction in lowest terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fraction {
    /// Numerator.
    pub numerator: u64,
    /// Denominator, never 0.
    pub denominator: u64,
}

impl Statistics {
    /// Enumerates every combination of stops of three strips.
    #[must_use]
    pub fn enumerate(strips: &[Strip; REELS], table: &PayTable) -> Self {
        let [first, second, third] = strips;
        let mut statistics = Self { combinations: 0, sum: 0, sum_of_squares: 0, paying: 0 };
        for a in first {
            for b in second {
                for c in third {
                    let multiplier = u64::from(table.multiplier([*a, *b, *c]));
                    statistics.combinations += 1;
                    statistics.sum += multiplier;
                    statistics.sum_of_squares += multiplier * multiplier;
                    statistics.paying += u64::from(multiplier > 0);
                }
            }
        }
        statistics
    }

    /// Returns the return to player (RTP).
    #[must_use]
    pub fn rtp(&self) -> Fraction {
        Fraction::reduced(self.sum, self.combinations)
    }

    /// Returns the share of spins that pay anything.
    #[must_use]
    pub fn hit_rate(&self) -> Fraction {
        Fraction::reduced(self.paying, self.combinations)
    }

    /// Returns the variance of one spin's multiplier times the square of [`Statistics::combinations`]: C·Σm² − (Σm)². It is a
    /// whole number.
    #[must_use]
    pub fn scaled_variance(&self) -> i128 {
        i128::from(self.combinations) * i128::from(self.sum_of_squares)
            - i128::from(self.sum) * i128::from(self.sum)
    }

    /// Returns true if `spins` spins that paid `paid` stakes in total lie within [`SIGMAS`] standard deviations of the RTP.
    ///
    /// |paid/n − Σm/C| ≤ k·√(var/n), multiplied out so that no root and no float is needed:
    /// (paid·C − n·Σm)² ≤ k²·n·(C·Σm² − (Σm)²).
    #[must_use]
    pub fn agrees_with(&self, spins: u64, paid: u64) -> bool {
        let distance =
            i128::from(paid) * i128::from(self.combinations) - i128::from(spins) * i128::from(self.sum);
        spins > 0 && distance * distance <= SIGMAS * SIGMAS * i128::from(spins) * self.scaled_variance()
    }
}

impl Fraction {
    fn reduced(numerator: u64, denominator: u64) -> Self {
        let divisor = greatest_common_divisor(numerator, denominator).max(1);
        Self { numerator: numerator / divisor, denominator: denominator / divisor }
    }

    /// Returns the fraction in percent, truncated after three decimals: `95.953`.
    #[must_use]
    pub fn percent(&self) -> String {
        let thousandths = u128::from(self.numerator) * 100_000 / u128::from(self.denominator.max(1));
        format!("{}.{:03}", thousandths / 1000, thousandths % 1000)
    }
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::super::reels::Symbol;
    use super::super::slot_machine::SlotMachine;
    use super::*;

    #[test]
    fn published_rtp_matches_documentation() {
        let statistics = *SlotMachine::published().statistics();
        assert_eq!(statistics.combinations, 32_768);
        assert_eq!(statistics.rtp(), Fraction { numerator: 15_721, denominator: 16_384 });
        assert_eq!(statistics.rtp().percent(), "95.953");
    }

    /// Computes the same sum a second way: from the number of times each symbol occurs on each strip.
    #[test]
    fn enumeration_agrees_with_symbol_counts() {
        let machine = SlotMachine::published();
        let count = |reel: usize, symbol: Symbol| {
            machine.strips()[reel].iter().filter(|s| **s == symbol).count() as u64
        };
        let three: u64 = Symbol::ALL
            .into_iter()
            .map(|s| {
                count(0, s) * count(1, s) * count(2, s) * u64::from(machine.table().multiplier([s, s, s]))
            })
            .sum();
        let cherry = |reel| count(reel, Symbol::Cherry);
        let two = cherry(0) * cherry(1) * (32 - cherry(2)) * u64::from(machine.table().two_cherries);
        let one = cherry(0) * (32 - cherry(1)) * 32 * u64::from(machine.table().one_cherry);
        assert_eq!(machine.statistics().sum, three + two + one);
    }

    #[test]
    fn agreement_is_strict_on_both_sides() {
        let statistics = Statistics { combinations: 2, sum: 2, sum_of_squares: 4, paying: 1 };
        // A fair coin that pays 0 or 2 has a variance of 1, so 4σ of the sum over 10 000 tosses is 400.
        assert!(statistics.agrees_with(10_000, 10_400) && statistics.agrees_with(10_000, 9_600));
        assert!(!statistics.agrees_with(10_000, 10_401) && !statistics.agrees_with(10_000, 9_599));
        assert!(!statistics.agrees_with(0, 0), "no spins prove nothing");
    }
}
