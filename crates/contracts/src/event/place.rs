//! Place where a record appeared first, which is the identity of a record without an id.
//!
//! It guarantees that a replayed record stays the same event, whatever tool replays it, however often and to whatever
//! topic. A dead letter carries the first place in its headers, and a replay copies them.

use std::str::FromStr;

use super::RecordView;
use crate::decode_error::DecodeError;
use crate::headers::{self, last_valid};
use crate::ids::{self, EventId};
use crate::topics::Topic;

/// A place on the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition, from 0.
    pub partition: i32,
    /// The offset, from 0.
    pub offset: i64,
    /// The record's timestamp there, in milliseconds since 1970. On Pitboss topics the broker sets it.
    pub timestamp_ms: Option<i64>,
}

impl Place<'_> {
    /// The id for a record that appeared here first and has no id.
    pub fn event_id(&self) -> EventId {
        ids::record_id(self.topic, self.partition, self.offset)
    }
}

impl<'a> RecordView<'a> {
    /// The place where this view of the record was read.
    pub const fn place(&self) -> Place<'a> {
        let Self { topic, partition, offset, timestamp_ms, .. } = *self;
        Place { topic, partition, offset, timestamp_ms }
    }

    /// The place where the record appeared first, from its `dlq-original-*` headers. Without them, where it was read.
    ///
    /// # Errors
    /// If topic, partition or offset is invalid, or only some of them are present. Another copy of the record would then
    /// get another identity and take effect a second time.
    pub fn first_appearance(&self) -> Result<Place<'a>, DecodeError> {
        let names = [headers::DLQ_TOPIC, headers::DLQ_PARTITION, headers::DLQ_OFFSET];
        if names.iter().all(|name| headers::last(self.headers, name).is_none()) {
            return Ok(self.place());
        }
        let timestamp_ms = self.header(headers::DLQ_TIMESTAMP_MS, number::<i64>).ok();
        Ok(Place {
            topic: self.header(headers::DLQ_TOPIC, |text| Topic::of_record(text).map(|_| text))?,
            partition: self.header(headers::DLQ_PARTITION, number)?,
            offset: self.header(headers::DLQ_OFFSET, number)?,
            timestamp_ms,
        })
    }

    /// The best available id for the record, readable or not: its `ce_id`, otherwise the id of its first appearance,
    /// otherwise the id of the place where it was read.
    pub fn identity(&self) -> EventId {
        let ce_id = last_valid(self.headers, headers::CE_ID, |value| {
            std::str::from_utf8(value).map_err(|_| ())?.parse::<EventId>().map_err(|_| ())
        });
        match ce_id {
            Some(Ok(id)) => id,
            _ => self.first_appearance().unwrap_or(self.place()).event_id(),
        }
    }

    fn header<T>(&self, name: &'static str, read: impl Fn(&'a str) -> Option<T>) -> Result<T, DecodeError> {
        let valid = last_valid(self.headers, name, |value| {
            std::str::from_utf8(value).ok().and_then(&read).ok_or("is not a place on a Pitboss topic")
        });
        let missing = Err("is missing, so the record's first place is unknown");
        valid.unwrap_or(missing).map_err(|problem| DecodeError::Header { name, problem })
    }
}

/// Parses a number as Pitboss writes it: zero or above, no sign, no leading zeros.
fn number<T: FromStr + ToString>(text: &str) -> Option<T> {
    let number: T = text.parse().ok()?;
    (number.to_string() == text && !text.starts_with('-')).then_some(number)
}
