//! Money amounts for all of Pitboss: integer minor units and a currency.
//!
//! It guarantees that no amount is rounded, no sum wraps, and two currencies are never added. Arithmetic is checked and returns
//! an error. No conversion from a float exists, and no operator that could panic. Ledger [`Postings`] can only be built balanced,
//! so money is moved and never created.
#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

mod amount;
mod currency;
mod posting;
mod total;

pub use amount::{Money, MoneyError};
pub use currency::{Currency, UnknownCurrency};
pub use posting::{Account, AccountError, Posting, Postings};
pub use total::Total;
