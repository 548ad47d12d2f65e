//! Conversions of stored times, which have whole milliseconds.

use bson::DateTime;
use time::OffsetDateTime;
use time::error::ComponentRange;

/// Converts a time to a stored time. A fraction of a millisecond is cut off.
#[must_use]
pub fn to_bson(time: OffsetDateTime) -> DateTime {
    let millis = time.unix_timestamp_nanos().div_euclid(1_000_000);
    DateTime::from_millis(i64::try_from(millis).unwrap_or_default())
}

/// Converts a stored time back.
///
/// # Errors
/// When the year has more than four digits.
pub fn from_bson(stored: DateTime) -> Result<OffsetDateTime, ComponentRange> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(stored.timestamp_millis()).saturating_mul(1_000_000))
}

/// Returns the stored time that is `by_ms` later.
#[must_use]
pub fn later(stored: DateTime, by_ms: u64) -> DateTime {
    let by_ms = i64::try_from(by_ms).unwrap_or(i64::MAX);
    DateTime::from_millis(stored.timestamp_millis().saturating_add(by_ms))
}
