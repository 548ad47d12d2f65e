//! Violation of a check: what is wrong, and the amounts that it names.

use std::fmt;

use money::{Currency, Total};
use serde_json::{Value, json};

/// Amount that a violation names. Its text is in major units: `2.00 EUR`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amount {
    /// Name of the amount, such as `stake`.
    pub name: &'static str,
    /// Minor units.
    pub minor: i128,
    /// Currency code, as it is stored.
    pub currency: String,
}

impl Amount {
    /// Creates an amount.
    #[must_use]
    pub fn new(name: &'static str, minor: impl Into<i128>, currency: &str) -> Self {
        Self { name, minor: minor.into(), currency: currency.to_owned() }
    }

    /// Returns the amount in major units without its currency. `None`: the currency is unknown, and so is its number of digits.
    #[must_use]
    pub fn major(&self) -> Option<String> {
        let currency: Currency = self.currency.parse().ok()?;
        Some(Total::new(self.minor, currency).major())
    }

    /// Returns minor and major units as `audit --json` prints them. Minor units beyond 64 bits are a text.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let minor = i64::try_from(self.minor).map_or_else(|_| json!(self.minor.to_string()), |n| json!(n));
        json!({ "name": self.name, "minor": minor, "major": self.major(), "currency": self.currency })
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.major() {
            Some(major) => write!(f, "{major} {}", self.currency),
            None => write!(f, "{} minor units of {}", self.minor, self.currency),
        }
    }
}

/// Defect of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Description in words.
    pub what: String,
    /// The amounts in these words.
    pub amounts: Vec<Amount>,
}

impl Violation {
    /// Creates a violation that names these amounts.
    pub fn of(what: impl Into<String>, amounts: impl IntoIterator<Item = Amount>) -> Self {
        Self { what: what.into(), amounts: amounts.into_iter().collect() }
    }
}

impl From<String> for Violation {
    fn from(what: String) -> Self {
        Self::of(what, [])
    }
}

impl From<&str> for Violation {
    fn from(what: &str) -> Self {
        Self::of(what, [])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amount_is_shown_in_major_units() {
        let amount = Amount::new("stake", 200_i64, "EUR");
        assert_eq!(amount.to_string(), "2.00 EUR");
        let json = json!({ "name": "stake", "minor": 200, "major": "2.00", "currency": "EUR" });
        assert_eq!(amount.to_json(), json);
    }

    #[test]
    fn unknown_currency_stays_in_minor_units() {
        let amount = Amount::new("stake", -200_i64, "XTS");
        assert_eq!(amount.to_string(), "-200 minor units of XTS");
        assert_eq!(amount.to_json()["major"], Value::Null);
    }

    #[test]
    fn minor_units_beyond_64_bits_are_text() {
        let amount = Amount::new("sum", i128::from(i64::MAX) + 1, "EUR");
        assert_eq!(amount.to_json()["minor"], "9223372036854775808");
    }
}
