//! Where a record appeared first: the identity of a record without an id of its own.
//!
//! Promise: a record that is replayed, however often and with whatever tool, is the same event, because its dead letter
//! carries this place along and a replay copies it. Copied to another topic it still is.

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
    /// The record's timestamp there, in milliseconds since 1970: its producer's claim.
    pub timestamp_ms: Option<i64>,
}

impl Place<'_> {
    /// The id of a record that first appeared here and has none of its own.
    pub fn event_id(&self) -> EventId {
        ids::record_id(self.topic, self.partition, self.offset)
    }
}

impl<'a> RecordView<'a> {
    /// Where this view of the record was read.
    pub const fn place(&self) -> Place<'a> {
        let Self { topic, partition, offset, timestamp_ms, .. } = *self;
        Place { topic, partition, offset, timestamp_ms }
    }

    /// Where the record appeared first: what its `dlq-original-*` headers say, else where it was read.
    ///
    /// # Errors
    /// When only some of topic, partition and offset are there, or one is not what it should be: another copy of the
    /// record would then get another identity, and have its effect again.
    pub fn first_appearance(&self) -> Result<Place<'a>, DecodeError> {
        let names = [headers::DLQ_TOPIC, headers::DLQ_PARTITION, headers::DLQ_OFFSET];
        if names.iter().all(|name| headers::last(self.headers, name).is_none()) {
            return Ok(self.place());
        }
        let timestamp_ms = self.carried(headers::DLQ_TIMESTAMP_MS, number::<i64>).ok();
        Ok(Place {
            topic: self.carried(headers::DLQ_TOPIC, |text| Topic::of_record(text).map(|_| text))?,
            partition: self.carried(headers::DLQ_PARTITION, number)?,
            offset: self.carried(headers::DLQ_OFFSET, number)?,
            timestamp_ms,
        })
    }

    /// The best name for the record, readable or not: its `ce_id`, else the id of its first appearance, else that of
    /// where it was read.
    pub fn identity(&self) -> EventId {
        let said = last_valid(self.headers, headers::CE_ID, |value| {
            std::str::from_utf8(value).map_err(|_| ())?.parse::<EventId>().map_err(|_| ())
        });
        match said {
            Some(Ok(id)) => id,
            _ => self.first_appearance().unwrap_or(self.place()).event_id(),
        }
    }

    fn carried<T>(&self, name: &'static str, read: impl Fn(&'a str) -> Option<T>) -> Result<T, DecodeError> {
        let valid = last_valid(self.headers, name, |value| {
            std::str::from_utf8(value).ok().and_then(&read).ok_or("is not the place of a record of ours")
        });
        let missing = Err("is missing, so the record's first place is unknown");
        valid.unwrap_or(missing).map_err(|problem| DecodeError::Header { name, problem })
    }
}

/// A number as we write it: zero or above, no sign, no leading zeros.
fn number<T: FromStr + ToString>(text: &str) -> Option<T> {
    let number: T = text.parse().ok()?;
    (number.to_string() == text && !text.starts_with('-')).then_some(number)
}
