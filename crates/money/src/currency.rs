//! The currencies a balance can be held in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A currency of the platform, by its ISO 4217 code. The wire format and the documents contain the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Currency {
    /// Euro.
    Eur,
    /// US dollar.
    Usd,
    /// Pound sterling.
    Gbp,
    /// Swedish krona.
    Sek,
}

impl Currency {
    /// All supported currencies.
    pub const ALL: [Self; 4] = [Self::Eur, Self::Usd, Self::Gbp, Self::Sek];

    /// Returns the ISO 4217 code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Eur => "EUR",
            Self::Usd => "USD",
            Self::Gbp => "GBP",
            Self::Sek => "SEK",
        }
    }

    /// Returns the number of digits of the minor unit: 2 means that 100 minor units are one major unit.
    pub const fn exponent(self) -> u32 {
        match self {
            Self::Eur | Self::Usd | Self::Gbp | Self::Sek => 2,
        }
    }

    /// Returns the number of minor units in one major unit.
    pub(crate) const fn minor_per_major(self) -> u64 {
        10_u64.pow(self.exponent())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

/// The text is not the code of a supported currency. The error does not repeat it, because the client is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown currency: expected one of EUR, USD, GBP, SEK")]
pub struct UnknownCurrency;

impl FromStr for Currency {
    type Err = UnknownCurrency;

    /// Accepts only the exact upper-case code. `eur` is refused.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|currency| currency.code() == text).ok_or(UnknownCurrency)
    }
}
