//! Amounts of money, as everything in Pitboss counts them: integer minor units and a currency.
//!
//! The promise: no amount is ever rounded, no sum ever wraps, and two currencies are never added. Arithmetic is
//! checked and answers an error; there is no conversion from a float and no operator that could panic. Ledger
//! [`Postings`] can only be built balanced, so money is moved and never made.
#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

mod amount;
mod currency;
mod posting;

pub use amount::{Money, MoneyError};
pub use currency::{Currency, UnknownCurrency};
pub use posting::{Account, AccountError, Posting, Postings};
