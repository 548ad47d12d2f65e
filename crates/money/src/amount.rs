//! [`Money`]: an amount in one currency, and its checked arithmetic.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Currency, Total, UnknownCurrency};

/// An amount of minor units (cents) in one currency. It may be negative, because a posting also takes money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// Minor units. Private, so that no caller changes them with unchecked arithmetic.
    minor: i64,
    /// Currency of the minor units.
    currency: Currency,
}

/// Reason why an amount could not be computed or parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The result does not fit 64 bits of minor units.
    #[error("the amount does not fit 64 bits of minor units")]
    Overflow,
    /// Two amounts in one computation have different currencies.
    #[error("two currencies in one sum: {left} and {right}")]
    CurrencyMismatch {
        /// The currency of the amount the operation was called on.
        left: Currency,
        /// The currency of the other amount.
        right: Currency,
    },
    /// Postings of one decision do not sum to zero in this currency.
    #[error("postings in {currency} do not sum to zero")]
    Unbalanced {
        /// The currency that does not balance.
        currency: Currency,
    },
    /// A decision has more postings than allowed.
    #[error("more than {limit} postings in one decision")]
    TooManyPostings {
        /// Maximum number of postings.
        limit: usize,
    },
    /// The text is not an amount such as `12.34 EUR`.
    #[error("not an amount such as `12.34 EUR`")]
    Malformed,
    /// The text names an unknown currency.
    #[error(transparent)]
    UnknownCurrency(#[from] UnknownCurrency),
}

impl Money {
    /// Creates an amount of `minor` units.
    pub const fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Returns zero in a currency.
    pub const fn zero(currency: Currency) -> Self {
        Self::new(0, currency)
    }

    /// Returns the amount in minor units.
    pub const fn minor(self) -> i64 {
        self.minor
    }

    /// Returns the currency of the amount.
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// Returns true if the amount is below zero.
    pub const fn is_negative(self) -> bool {
        self.minor < 0
    }

    /// Returns true if the amount is above zero. Zero is neither positive nor negative.
    pub const fn is_positive(self) -> bool {
        self.minor > 0
    }

    /// Returns true if the amount is zero.
    pub const fn is_zero(self) -> bool {
        self.minor == 0
    }

    /// Returns the sum of two amounts of one currency.
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.same_currency(other)?;
        let minor = self.minor.checked_add(other.minor).ok_or(MoneyError::Overflow)?;
        Ok(Self::new(minor, self.currency))
    }

    /// Returns the difference of two amounts of one currency.
    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        self.same_currency(other)?;
        let minor = self.minor.checked_sub(other.minor).ok_or(MoneyError::Overflow)?;
        Ok(Self::new(minor, self.currency))
    }

    /// Returns the negated amount.
    pub fn checked_neg(self) -> Result<Self, MoneyError> {
        let minor = self.minor.checked_neg().ok_or(MoneyError::Overflow)?;
        Ok(Self::new(minor, self.currency))
    }

    /// Returns the amount multiplied by `factor`, as a pay table multiplies a stake.
    pub fn checked_mul(self, factor: u32) -> Result<Self, MoneyError> {
        let minor = self.minor.checked_mul(i64::from(factor)).ok_or(MoneyError::Overflow)?;
        Ok(Self::new(minor, self.currency))
    }

    fn same_currency(self, other: Self) -> Result<(), MoneyError> {
        if self.currency == other.currency {
            return Ok(());
        }
        Err(MoneyError::CurrencyMismatch { left: self.currency, right: other.currency })
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Total::new(i128::from(self.minor), self.currency).fmt(f)
    }
}

impl FromStr for Money {
    type Err = MoneyError;

    /// Parses the format of [`Display`](fmt::Display): all minor digits, one space, the code. Leading zeros are accepted.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (number, code) = text.split_once(' ').ok_or(MoneyError::Malformed)?;
        let currency: Currency = code.parse()?;
        let (negative, unsigned) = match number.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, number),
        };
        let (major, minor) = unsigned.split_once('.').ok_or(MoneyError::Malformed)?;
        let exponent = usize::try_from(currency.exponent()).map_err(|_| MoneyError::Overflow)?;
        let whole = digits(major)?;
        if minor.len() != exponent {
            return Err(MoneyError::Malformed);
        }
        let total = i128::from(whole)
            .checked_mul(i128::from(currency.minor_per_major()))
            .and_then(|scaled| scaled.checked_add(i128::from(digits(minor).ok()?)))
            .and_then(|scaled| if negative { scaled.checked_neg() } else { Some(scaled) })
            .ok_or(MoneyError::Malformed)?;
        let minor = i64::try_from(total).map_err(|_| MoneyError::Overflow)?;
        Ok(Self::new(minor, currency))
    }
}

/// Parses ASCII digits only. `u64::from_str` alone would also accept a plus sign.
fn digits(text: &str) -> Result<u64, MoneyError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(MoneyError::Malformed);
    }
    text.parse().map_err(|_| MoneyError::Overflow)
}
