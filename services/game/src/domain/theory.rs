//! Exact long-run return of a machine, computed by enumerating every combination of stops.
//!
//! It guarantees that the published return is true: ten million spins of the production function have to pass
//! [`Theory::agrees_with`], which calculates in whole numbers only.

use super::machine::{PayTable, REELS, Strip};

/// Number of standard deviations that a sample may differ from the theory.
pub const SIGMAS: i128 = 4;

/// Sums over all combinations of stops. Every combination is equally likely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theory {
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

impl Theory {
    /// Enumerates every combination of stops of three strips.
    #[must_use]
    pub fn enumerate(strips: &[Strip; REELS], table: &PayTable) -> Self {
        let [first, second, third] = strips;
        let mut theory = Self { combinations: 0, sum: 0, sum_of_squares: 0, paying: 0 };
        for a in first {
            for b in second {
                for c in third {
                    let multiplier = u64::from(table.multiplier([*a, *b, *c]));
                    theory.combinations += 1;
                    theory.sum += multiplier;
                    theory.sum_of_squares += multiplier * multiplier;
                    theory.paying += u64::from(multiplier > 0);
                }
            }
        }
        theory
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

    /// Returns the variance of one spin's multiplier times the square of [`Theory::combinations`]: C·Σm² − (Σm)², a whole number.
    #[must_use]
    pub fn scaled_variance(&self) -> i128 {
        i128::from(self.combinations) * i128::from(self.sum_of_squares)
            - i128::from(self.sum) * i128::from(self.sum)
    }

    /// Returns true if `spins` spins that paid `paid` stakes in total lie within [`SIGMAS`] standard deviations of the theory.
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
    use super::super::machine::{Machine, Symbol};
    use super::*;

    #[test]
    fn the_published_return_is_the_fraction_that_the_documentation_names() {
        let theory = *Machine::published().theory();
        assert_eq!(theory.combinations, 32_768);
        assert_eq!(theory.rtp(), Fraction { numerator: 15_721, denominator: 16_384 });
        assert_eq!(theory.rtp().percent(), "95.953");
    }

    /// Computes the same sum a second way: from the number of times each symbol occurs on each strip.
    #[test]
    fn the_enumeration_agrees_with_counting_symbols() {
        let machine = Machine::published();
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
        assert_eq!(machine.theory().sum, three + two + one);
    }

    #[test]
    fn the_agreement_is_strict_on_both_sides() {
        let theory = Theory { combinations: 2, sum: 2, sum_of_squares: 4, paying: 1 };
        // A fair coin that pays 0 or 2 has a variance of 1, so 4σ of the sum over 10 000 tosses is 400.
        assert!(theory.agrees_with(10_000, 10_400) && theory.agrees_with(10_000, 9_600));
        assert!(!theory.agrees_with(10_000, 10_401) && !theory.agrees_with(10_000, 9_599));
        assert!(!theory.agrees_with(0, 0), "no spins prove nothing");
    }
}
