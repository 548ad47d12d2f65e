//! Reads both of Sentry's forms of a time as seconds since the epoch.

use serde_json::value::RawValue;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Seconds since the epoch. `None` when the SDK sent no valid time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timestamp(pub Option<f64>);

impl Timestamp {
    /// Reads a JSON value.
    #[must_use]
    pub fn parse(value: &RawValue) -> Self {
        Self(parse(value.get()))
    }

    /// Returns the seconds, or the time of receipt when there are none, as Sentry does.
    #[must_use]
    pub fn or(self, received_at: f64) -> f64 {
        self.0.unwrap_or(received_at)
    }
}

/// Parses a number of seconds or an RFC 3339 text. A text without a zone is UTC, as older SDKs send it.
fn parse(json: &str) -> Option<f64> {
    if let Ok(seconds) = serde_json::from_str::<f64>(json) {
        return seconds.is_finite().then_some(seconds);
    }
    let text: String = serde_json::from_str(json).ok()?;
    let at = OffsetDateTime::parse(&text, &Rfc3339)
        .or_else(|_| OffsetDateTime::parse(&format!("{text}Z"), &Rfc3339))
        .ok()?;
    // A float holds microseconds exactly, but not nanoseconds.
    Some((at.unix_timestamp_nanos() / 1_000) as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_numbers_or_rfc3339() {
        assert_eq!(parse("1700000000.25"), Some(1_700_000_000.25));
        assert_eq!(parse("\"2023-11-14T22:13:20.250Z\""), Some(1_700_000_000.25));
        assert_eq!(parse("\"2023-11-14T22:13:20.250\""), Some(1_700_000_000.25));
        assert_eq!(parse("\"2023-11-14T23:13:20.25+01:00\""), Some(1_700_000_000.25));
        for nonsense in ["null", "\"yesterday\"", "{}", "[]", "true", "\"\""] {
            assert_eq!(parse(nonsense), None, "{nonsense}");
        }
    }
}
