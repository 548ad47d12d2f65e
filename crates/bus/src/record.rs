//! One Kafka record, owned: what came from the broker, byte for byte, and what goes there.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use contracts::{RecordView, headers};
use rdkafka::Message as _;
use rdkafka::Timestamp;
use rdkafka::message::{BorrowedMessage, Header, Headers as _, OwnedHeaders};

use crate::names::Names;

/// What one record costs besides its bytes: the structs, the ledger's entry, the lane's entry.
const RECORD_OVERHEAD_BYTES: usize = 512;

/// A header as it came: its value may be null.
pub(crate) type Came<'a> = (&'a str, Option<&'a [u8]>);

/// A record as it was read.
#[derive(Debug)]
pub struct Record {
    /// The catalogue's name of the topic (without a test's namespace).
    pub topic: String,
    /// The partition that it was read from.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// The key, where it has one. The console's default is none.
    pub key: Option<Bytes>,
    /// The headers in their order; a name may come more than once. One whose value is null is not set, so not here.
    pub headers: Vec<(String, Bytes)>,
    /// The value; empty for a tombstone too.
    pub value: Bytes,
    /// The record's time in milliseconds since the epoch: the broker's on our topics, else its producer's claim.
    pub timestamp_ms: Option<i64>,
    /// The value was null, not empty: kept apart so that a dead letter is the same record.
    pub(crate) is_tombstone: bool,
    /// Set where [`Self::headers`] cannot hold what came: null values, or a name that is not UTF-8.
    pub(crate) native_headers: Option<OwnedHeaders>,
    /// The headers could not be read at all: the record is poison, whatever its value says.
    pub(crate) headers_unreadable: bool,
}

impl Record {
    pub(crate) fn from_message(message: &BorrowedMessage<'_>, names: &Names) -> Self {
        let mut record = Self {
            topic: names.logical(message.topic()).to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(Bytes::copy_from_slice),
            headers: Vec::new(),
            value: message.payload().map(Bytes::copy_from_slice).unwrap_or_default(),
            timestamp_ms: match message.timestamp() {
                Timestamp::NotAvailable => None,
                Timestamp::CreateTime(ms) | Timestamp::LogAppendTime(ms) => Some(ms),
            },
            is_tombstone: message.payload().is_none(),
            native_headers: None,
            headers_unreadable: false,
        };
        record.read_headers(message);
        record
    }

    /// rdkafka panics on a header name that is not UTF-8, and anybody who may write to a topic can send one. The panic
    /// is caught here, the record becomes poison, and librdkafka's own copy keeps the bytes for the dead letter.
    fn read_headers(&mut self, message: &BorrowedMessage<'_>) {
        let Some(borrowed) = message.headers() else { return };
        let mut has_null = false;
        let found = &mut self.headers;
        let read = catch_unwind(AssertUnwindSafe(|| {
            for header in borrowed.iter() {
                match header.value {
                    Some(value) => found.push((header.key.to_owned(), Bytes::copy_from_slice(value))),
                    None => has_null = true,
                }
            }
        }));
        self.headers_unreadable = read.is_err();
        if self.headers_unreadable || has_null {
            self.native_headers = Some(borrowed.detach());
        }
    }

    /// The last header of this name, exactly: whoever sends a record on appends.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&Bytes> {
        headers::last(&self.headers, name)
    }

    /// What the codec needs to see.
    #[must_use]
    pub fn view(&self) -> RecordView<'_> {
        RecordView {
            topic: &self.topic,
            partition: self.partition,
            offset: self.offset,
            timestamp_ms: self.timestamp_ms,
            headers: &self.headers,
            value: &self.value,
        }
    }

    /// What holding this record costs, for the memory budget.
    pub(crate) fn cost_bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len() + 64).sum();
        RECORD_OVERHEAD_BYTES + self.key.as_ref().map_or(0, Bytes::len) + self.value.len() + headers
    }

    /// The headers as they came, null values too; `None` where the name of one cannot be read.
    pub(crate) fn headers_as_they_came(&self) -> Option<Vec<Came<'_>>> {
        match &self.native_headers {
            _ if self.headers_unreadable => None,
            Some(native) => Some(native.iter().map(|header| (header.key, header.value)).collect()),
            None => Some(self.headers_that_were_read()),
        }
    }

    /// The headers that were read, where not all could be.
    pub(crate) fn headers_that_were_read(&self) -> Vec<Came<'_>> {
        self.headers.iter().map(|(name, value)| (name.as_str(), Some(value.as_ref()))).collect()
    }

    /// librdkafka's own copy, for headers that nobody here can read.
    pub(crate) fn headers_verbatim(&self) -> OwnedHeaders {
        match &self.native_headers {
            Some(native) => native.clone(),
            None => to_native(&self.headers),
        }
    }
}

/// A record to publish as it is; [`crate::Producer::publish_raw`] puts in the trace and the time of sending, and writes
/// each header once, the last of its name.
#[derive(Clone, Debug)]
pub struct RawRecord {
    /// The catalogue's name of the topic.
    pub topic: String,
    /// The key that chooses the partition; none spreads records at random.
    pub key: Option<Bytes>,
    /// The headers in their order, without trace headers.
    pub headers: Vec<(String, Bytes)>,
    /// The value.
    pub value: Bytes,
}

pub(crate) fn to_native(headers: &[(String, Bytes)]) -> OwnedHeaders {
    headers.iter().fold(OwnedHeaders::new_with_capacity(headers.len()), |native, (name, value)| {
        native.insert(Header { key: name, value: Some(value.as_ref()) })
    })
}

/// Leaves the last header of each name.
pub(crate) fn each_once(headers: &mut Vec<(String, Bytes)>) {
    let mut seen = HashSet::with_capacity(headers.len());
    // From the end on, so the answer about the first header stands last.
    let mut are_last: Vec<bool> = headers.iter().rev().map(|(name, _)| seen.insert(name.as_str())).collect();
    headers.retain(|_| are_last.pop().unwrap_or_default());
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An empty one.
    pub(crate) fn record() -> Record {
        Record {
            topic: "casino.bets.commands.v1".to_owned(),
            partition: 2,
            offset: 7,
            key: None,
            headers: Vec::new(),
            value: Bytes::new(),
            timestamp_ms: None,
            is_tombstone: false,
            native_headers: None,
            headers_unreadable: false,
        }
    }

    /// Its time grows with the number of headers, not with its square: else this does not end.
    #[test]
    fn of_very_many_headers_each_stays_once() {
        let one = |n: usize| (format!("{n:x}"), Bytes::new());
        let mut headers: Vec<_> = (0..400_000).map(one).chain((0..10).map(one)).collect();
        each_once(&mut headers);
        assert_eq!(headers.len(), 400_000);
    }

    #[test]
    fn of_several_headers_the_last_stays_and_names_are_exact() {
        let header =
            |(name, value): &(&str, &'static str)| ((*name).to_owned(), Bytes::from_static(value.as_bytes()));
        let written = |pairs: &[(&str, &'static str)]| pairs.iter().map(header).collect::<Vec<_>>();
        let mut headers = written(&[("a", "1"), ("b", "2"), ("a", "3"), ("A", "4"), ("a", "5")]);
        each_once(&mut headers);
        assert_eq!(headers, written(&[("b", "2"), ("A", "4"), ("a", "5")]));
        each_once(&mut headers);
        assert_eq!(headers.len(), 3);
        each_once(&mut Vec::new());
    }
}
