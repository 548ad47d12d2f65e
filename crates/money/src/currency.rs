//! The currencies a balance can be held in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A currency of the platform, by its ISO 4217 code; on the wire and in documents the code itself.
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
    /// Every currency there is.
    pub const ALL: [Self; 4] = [Self::Eur, Self::Usd, Self::Gbp, Self::Sek];

    /// The ISO 4217 code, as it is written everywhere.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Eur => "EUR",
            Self::Usd => "USD",
            Self::Gbp => "GBP",
            Self::Sek => "SEK",
        }
    }

    /// How many digits the minor unit takes: 2 means that 100 minor units are one major unit.
    pub const fn exponent(self) -> u32 {
        match self {
            Self::Eur | Self::Usd | Self::Gbp | Self::Sek => 2,
        }
    }

    /// Minor units in one major unit, derived from [`Self::exponent`].
    pub(crate) const fn minor_per_major(self) -> u64 {
        10_u64.pow(self.exponent())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

/// The text is no code of a currency we hold. The text itself is not repeated: it may come from a stranger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown currency: expected one of EUR, USD, GBP, SEK")]
pub struct UnknownCurrency;

impl FromStr for Currency {
    type Err = UnknownCurrency;

    /// Only the exact upper-case code: `eur` is refused rather than guessed at.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|currency| currency.code() == text).ok_or(UnknownCurrency)
    }
}
