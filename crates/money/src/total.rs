//! [`Total`]: a sum of minor units, and its text in major units.

use std::fmt;

use crate::Currency;

/// A sum of minor units in one currency, which may exceed 64 bits. Its text is in major units: `2.00 EUR`.
///
/// It is for reports. No decision is made with it, so it has no arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total {
    minor: i128,
    currency: Currency,
}

impl Total {
    /// Creates a sum of `minor` units.
    pub const fn new(minor: i128, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Returns the sum in major units without the currency: `2.00`.
    pub fn major(self) -> String {
        major(self.minor, self.currency.exponent())
    }
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.major(), self.currency)
    }
}

/// Writes minor units as major units with `exponent` digits after the point. A currency without a minor unit has no point.
fn major(minor: i128, exponent: u32) -> String {
    // The divisor is a power of ten, so never zero. `unsigned_abs` has room for i128::MIN.
    let unit = 10_u128.checked_pow(exponent).unwrap_or(1);
    let absolute = minor.unsigned_abs();
    let whole = absolute.checked_div(unit).unwrap_or(absolute);
    let rest = absolute.checked_rem(unit).unwrap_or(0);
    let sign = if minor < 0 { "-" } else { "" };
    match usize::try_from(exponent) {
        Ok(0) | Err(_) => format!("{sign}{whole}"),
        Ok(digits) => format!("{sign}{whole}.{rest:0digits$}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_currency_has_its_number_of_digits() {
        for (minor, exponent, text) in [
            (200, 2, "2.00"),
            (5, 2, "0.05"),
            (-5, 2, "-0.05"),
            (-1_234, 2, "-12.34"),
            (0, 2, "0.00"),
            (200, 0, "200"),
            (-1, 0, "-1"),
            (1_005, 3, "1.005"),
            (7, 3, "0.007"),
        ] {
            assert_eq!(major(minor, exponent), text);
        }
    }

    #[test]
    fn sum_above_64_bits_is_exact() {
        let minor = 92_233_720_368_547_758_073;
        assert_eq!(Total::new(minor, Currency::Eur).to_string(), "922337203685477580.73 EUR");
        assert_eq!(Total::new(i128::MIN, Currency::Eur).major(), "-1701411834604692317316873037158841057.28");
    }
}
