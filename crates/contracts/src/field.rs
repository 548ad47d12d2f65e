//! Checks of single fields. An error holds the field's name and the problem, never the field's value.

use std::fmt;

use crate::class::{Classify, ErrorClass};
use crate::proto::common::v1::Money;

/// Longest player id. It is part of ledger keys (`player_id/seq`), so its alphabet is narrow.
const PLAYER_ID_BYTES_MAX: usize = 64;
/// Longest name of a game.
const GAME_BYTES_MAX: usize = 32;
/// Longest e-mail address (RFC 5321).
const EMAIL_BYTES_MAX: usize = 254;

/// Largest stake, payout, deposit or withdrawal that moves money, in minor units.
///
/// A 64-bit sum holds nine million of them, and a JSON number holds each one exactly. A request may name a larger amount, and
/// the answer to it is a business "no".
pub const TRANSFER_MINOR_MAX: i64 = 1_000_000_000_000;

/// A field whose value violates its documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The field's path in JSON, such as `stake.minor`.
    pub field: String,
    /// The problem.
    pub problem: &'static str,
}

impl FieldError {
    pub(crate) fn new(field: impl Into<String>, problem: &'static str) -> Self {
        Self { field: field.into(), problem }
    }

    /// A required field is missing.
    #[must_use]
    pub fn missing(field: &str) -> Self {
        Self::new(field, "is missing")
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "field `{}` {}", self.field, self.problem)
    }
}

impl std::error::Error for FieldError {}

impl Classify for FieldError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Poison
    }
}

/// Returns the amount in a required field of a message.
///
/// # Errors
/// When the field is missing or its currency is not supported. That is impossible in a decoded message, because
/// [`Validate`](crate::message::Validate) checks both.
pub fn required_money(field: &str, value: Option<&Money>) -> Result<money::Money, FieldError> {
    let value = value.ok_or_else(|| FieldError::missing(field))?;
    money::Money::try_from(value).map_err(|_| FieldError::new(field, "has an unknown currency"))
}

type Checked = Result<(), FieldError>;

/// Allowed range of an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    /// Above zero.
    Positive,
    /// Zero or above.
    NotNegative,
    /// Any amount, because a balance may be negative.
    Any,
}

/// A player's id: letters, digits, `.`, `_`, `-`.
pub(crate) fn player_id(value: &str) -> Checked {
    name("playerId", value, PLAYER_ID_BYTES_MAX)
}

/// A game's name, in the same alphabet. It need not be a known [`Game`](crate::Game), which is a business rule.
pub(crate) fn game(value: &str) -> Checked {
    name("game", value, GAME_BYTES_MAX)
}

fn name(field: &'static str, value: &str, bytes_max: usize) -> Checked {
    if value.is_empty() {
        return Err(FieldError::new(field, "is missing or empty"));
    }
    if value.len() > bytes_max {
        return Err(FieldError::new(field, "is too long"));
    }
    if !value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) {
        return Err(FieldError::new(field, "may only have letters, digits, `.`, `_` and `-`"));
    }
    Ok(())
}

/// An event's id in a field.
pub(crate) fn event_id(field: &'static str, value: &str) -> Checked {
    if value.is_empty() {
        return Err(FieldError::new(field, "is missing or empty"));
    }
    crate::ids::check_id(value).map_err(|_| FieldError::new(field, "is not an event id"))
}

/// Text for people: limited length, no control characters.
pub(crate) fn text(field: &'static str, value: &str, bytes_min: usize, bytes_max: usize) -> Checked {
    if value.len() < bytes_min {
        return Err(FieldError::new(field, "is missing or empty"));
    }
    if value.len() > bytes_max {
        return Err(FieldError::new(field, "is too long"));
    }
    if value.chars().any(char::is_control) {
        return Err(FieldError::new(field, "has control characters"));
    }
    Ok(())
}

/// An e-mail address, checked only roughly. The e-mail server validates the rest.
pub(crate) fn email(value: &str) -> Checked {
    text("email", value, 1, EMAIL_BYTES_MAX)?;
    let parts = value.split_once('@');
    let plausible =
        parts.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'));
    if !plausible || value.contains(char::is_whitespace) {
        return Err(FieldError::new("email", "is not an e-mail address"));
    }
    Ok(())
}

/// A required amount.
pub(crate) fn amount(field: &'static str, value: Option<&Money>, sign: Sign) -> Checked {
    let Some(amount) = value else {
        return Err(FieldError::new(field, "is missing"));
    };
    currency_code(&format!("{field}.currency"), &amount.currency)?;
    match sign {
        Sign::Positive if amount.minor <= 0 => {
            Err(FieldError::new(format!("{field}.minor"), "must be above zero"))
        }
        Sign::NotNegative if amount.minor < 0 => {
            Err(FieldError::new(format!("{field}.minor"), "must not be negative"))
        }
        Sign::Positive | Sign::NotNegative | Sign::Any => Ok(()),
    }
}

/// An amount that is added to balances and sums: at most [`TRANSFER_MINOR_MAX`].
pub(crate) fn transfer(field: &'static str, value: Option<&Money>, sign: Sign) -> Checked {
    amount(field, value, sign)?;
    if value.is_some_and(|amount| amount.minor > TRANSFER_MINOR_MAX) {
        return Err(FieldError::new(format!("{field}.minor"), "is above 1000000000000"));
    }
    Ok(())
}

/// An optional amount.
pub(crate) fn optional_amount(field: &'static str, value: Option<&Money>, sign: Sign) -> Checked {
    if value.is_none() { Ok(()) } else { amount(field, value, sign) }
}

/// The code of a supported currency.
pub(crate) fn currency_code(field: &str, value: &str) -> Checked {
    match value.parse::<money::Currency>() {
        Ok(_) => Ok(()),
        Err(_) if value.is_empty() => Err(FieldError::new(field, "is missing or empty")),
        Err(_) => Err(FieldError::new(field, "is not one of EUR, USD, GBP, SEK")),
    }
}

/// Two amounts of one message, which must have the same currency.
pub(crate) fn same_currency(field: &'static str, left: Option<&Money>, right: Option<&Money>) -> Checked {
    match (left, right) {
        (Some(one), Some(other)) if one.currency != other.currency => {
            Err(FieldError::new(format!("{field}.currency"), "differs from the currency of the others"))
        }
        _ => Ok(()),
    }
}

/// A known enum number other than zero, which means "unspecified".
pub(crate) fn known_enum<E: TryFrom<i32>>(field: &'static str, value: i32) -> Checked {
    if value == 0 {
        return Err(FieldError::new(field, "is missing or unspecified"));
    }
    E::try_from(value).map(|_| ()).map_err(|_| FieldError::new(field, "has an unknown enum value"))
}

/// An integer above zero.
pub(crate) fn positive(field: &'static str, value: i64) -> Checked {
    if value > 0 { Ok(()) } else { Err(FieldError::new(field, "must be above zero")) }
}
