//! Typed access to the headers of a record by name. Of several headers with one name the last valid one counts.

use std::str::FromStr;

use bytes::Bytes;

use super::media_type::MediaType;
use super::{SOURCE_BYTES_MAX, known_type, parse_time};
use crate::EventType;
use crate::decode_error::DecodeError;
use crate::headers::{self, last_valid};
use crate::ids::{EventId, RequestHash};
use crate::json::printable;
use time::OffsetDateTime;

/// Attributes that only binary mode puts into headers. `ce_id` is not listed: an older build's retried record may have it alone.
const BINARY_ONLY: [&str; 6] = [
    headers::CE_SOURCE,
    headers::CE_TIME,
    headers::CE_SUBJECT,
    headers::CE_SPECVERSION,
    headers::CE_CAUSATIONID,
    headers::CE_REQUESTHASH,
];

/// The headers of one record, within the size limits. The codec ignores headers that it does not read, such as
/// extensions.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordHeaders<'a>(&'a [(String, Bytes)]);

type Picked<T> = Result<Option<T>, DecodeError>;

impl<'a> RecordHeaders<'a> {
    /// Accepts the headers if they are within the size limits.
    pub(super) fn new(pairs: &'a [(String, Bytes)]) -> Result<Self, DecodeError> {
        check_sizes(pairs)?;
        Ok(Self(pairs))
    }

    /// Refuses a dead letter that was cut to fit its topic, because the rest may decode to another event.
    pub(super) fn check_complete(self) -> Result<(), DecodeError> {
        match headers::DLQ_CUTS.into_iter().find(|name| self.has(name)) {
            Some(name) => Err(DecodeError::Header { name, problem: CUT_PROBLEM }),
            None => Ok(()),
        }
    }

    /// The declared content type of the value.
    pub(super) fn media_type(self) -> Picked<MediaType> {
        Ok(self.text(headers::CONTENT_TYPE)?.map(MediaType::of))
    }

    /// The event type. Among known and unknown ones the last known one counts.
    pub(super) fn event_type(self) -> Picked<EventType> {
        let valid = last_valid(self.0, headers::CE_TYPE, |value| {
            let text =
                text_of(value).map_err(|problem| DecodeError::Header { name: headers::CE_TYPE, problem })?;
            known_type(text)
        });
        valid.transpose()
    }

    /// The event's id.
    pub(super) fn id(self) -> Picked<EventId> {
        self.parsed(headers::CE_ID, ID_PROBLEM)
    }

    /// The id of the event that caused it.
    pub(super) fn causation_id(self) -> Picked<EventId> {
        self.parsed(headers::CE_CAUSATIONID, ID_PROBLEM)
    }

    /// The hash of the client's request.
    pub(super) fn request_hash(self) -> Picked<RequestHash> {
        self.parsed(headers::CE_REQUESTHASH, HASH_PROBLEM)
    }

    /// Time of the event's creation.
    pub(super) fn time(self) -> Picked<OffsetDateTime> {
        self.checked(headers::CE_TIME, |text| parse_time(text).ok_or(TIME_PROBLEM))
    }

    /// The part that created it.
    pub(super) fn source(self) -> Picked<&'a str> {
        let bounded =
            |text: &'a str| if text.len() <= SOURCE_BYTES_MAX { Ok(text) } else { Err("is too long") };
        self.checked(headers::CE_SOURCE, bounded)
    }

    /// A header of any text.
    pub(super) fn text(self, name: &'static str) -> Picked<&'a str> {
        self.checked(name, Ok)
    }

    /// A header of text that must pass `check`.
    pub(super) fn checked<T>(
        self,
        name: &'static str,
        check: impl Fn(&'a str) -> Result<T, &'static str>,
    ) -> Picked<T> {
        let valid = last_valid(self.0, name, |value| check(text_of(value)?));
        valid.transpose().map_err(|problem| DecodeError::Header { name, problem })
    }

    fn parsed<T: FromStr>(self, name: &'static str, problem: &'static str) -> Picked<T> {
        self.checked(name, |text| text.parse().map_err(|_| problem))
    }

    /// Returns true if there is a header of this name, valid or not.
    pub(super) fn has(self, name: &str) -> bool {
        headers::last(self.0, name).is_some()
    }

    /// Returns true if there are attributes that are meaningful only in binary mode.
    pub(super) fn has_binary_attributes(self) -> bool {
        BINARY_ONLY.iter().any(|name| self.has(name))
    }
}

const CUT_PROBLEM: &str = "marks an incomplete record";
/// Problems of an id, a hash and a time.
pub(super) const ID_PROBLEM: &str = "is not 1 to 128 visible ASCII characters";
pub(super) const HASH_PROBLEM: &str = "is not 64 lower-case hexadecimal digits";
pub(super) const TIME_PROBLEM: &str = "is not an RFC 3339 time";

/// A header's value as text.
fn text_of(value: &[u8]) -> Result<&str, &'static str> {
    match std::str::from_utf8(value) {
        Ok("") => Err("is empty"),
        Ok(text) => Ok(text),
        Err(_) => Err("is not UTF-8"),
    }
}

fn check_sizes(pairs: &[(String, Bytes)]) -> Result<(), DecodeError> {
    let counted = || pairs.iter().filter(|(name, _)| !headers::is_exempt(name));
    let count = counted().count();
    if count > headers::COUNT_MAX {
        return Err(DecodeError::TooManyHeaders { count });
    }
    let mut total_bytes = 0_usize;
    for (name, value) in counted() {
        total_bytes = total_bytes.saturating_add(name.len()).saturating_add(value.len());
        let too_large = name.len() > headers::NAME_BYTES_MAX
            || value.len() > headers::VALUE_BYTES_MAX
            || total_bytes > headers::TOTAL_BYTES_MAX;
        if too_large {
            return Err(DecodeError::HeaderTooLarge { name: printable(name) });
        }
    }
    Ok(())
}
