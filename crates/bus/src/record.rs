//! Owned Kafka records: one as it was read, byte for byte, and one to publish.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

use bytes::Bytes;
use contracts::{RecordView, Topic, headers};
use rdkafka::Message as _;
use rdkafka::Timestamp;
use rdkafka::message::{BorrowedMessage, Header, Headers as _, OwnedHeaders};
use telemetry::propagation::{self, TRACEPARENT};

use crate::names::Names;

/// Memory cost of a record besides its bytes: the structs, and its entries in the offsets and the lane.
const RECORD_OVERHEAD_BYTES: usize = 512;

/// A header as received. Its value may be null.
pub(crate) type HeaderRef<'a> = (&'a str, Option<&'a [u8]>);

/// A record as it was read from the broker.
#[derive(Debug)]
pub struct Record {
    /// Catalogue name of the topic (without a test's namespace).
    pub topic: String,
    /// Partition that it was read from.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// The key, if there is one. The console producer sends none by default.
    pub key: Option<Bytes>,
    /// The headers in their order. A name may occur more than once. Headers with a null value are left out.
    pub headers: Vec<(String, Bytes)>,
    /// The value. Empty for a tombstone too.
    pub value: Bytes,
    /// Timestamp in milliseconds since the epoch. The broker sets it on our topics, elsewhere the producer may have set it.
    pub timestamp_ms: Option<i64>,
    /// The value was null, not empty. The distinction keeps a dead letter identical to its record.
    pub(crate) is_tombstone: bool,
    /// Set where [`Self::headers`] cannot represent the headers: null values, or a name that is not UTF-8.
    pub(crate) native_headers: Option<OwnedHeaders>,
    /// The headers could not be read. The record is then poison, regardless of its value.
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

    /// rdkafka panics on a header name that is not UTF-8, and any producer can send one. This function catches the panic, so the
    /// record becomes poison. librdkafka's own copy keeps the bytes for the dead letter.
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

    /// Returns the last header with exactly this name, because forwarding appends headers.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&Bytes> {
        headers::last(&self.headers, name)
    }

    /// Returns the parts that the codec needs.
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

    /// Returns topic, partition and offset, for reports.
    pub(crate) fn place(&self) -> String {
        format!("{}/{}/{}", self.topic, self.partition, self.offset)
    }

    /// Returns true if the record was read from a retry topic, so earlier attempts failed.
    #[must_use]
    pub fn is_retry(&self) -> bool {
        Topic::is_retry(&self.topic)
    }

    /// Number of times that this record moved to a retry topic. A replay begins at 0 again.
    pub(crate) fn laps(&self) -> u32 {
        self.retry_number(headers::DLQ_LAPS).unwrap_or(0)
    }

    /// Number of attempts before the record moved to the retry topic that it was read from.
    pub(crate) fn earlier_attempts(&self) -> u32 {
        self.retry_number(headers::DLQ_ATTEMPTS).unwrap_or(0)
    }

    /// Time from which a record in a retry topic may be handled, in milliseconds since 1970.
    pub(crate) fn due_ms(&self) -> Option<i64> {
        self.retry_number(headers::DLQ_DUE_MS)
    }

    /// Returns the trace context of the move to the retry topic that the record was read from.
    pub(crate) fn retry_traceparent(&self) -> Option<&[u8]> {
        let value = self.header(headers::DLQ_RETRY_TRACEPARENT).filter(|_| self.is_retry())?;
        propagation::names_a_trace(TRACEPARENT, value).then_some(value.as_ref())
    }

    /// Reads a bookkeeping header. Outside of retry topics such headers belong to an earlier life of the record.
    fn retry_number<T: FromStr>(&self, name: &str) -> Option<T> {
        let value = self.header(name).filter(|_| self.is_retry())?;
        std::str::from_utf8(value).ok()?.parse().ok()
    }

    /// Returns the memory cost of this record, for the budget.
    pub(crate) fn cost_bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len() + 64).sum();
        RECORD_OVERHEAD_BYTES + self.key.as_ref().map_or(0, Bytes::len) + self.value.len() + headers
    }

    /// Returns the headers as received, with null values, or `None` where a name cannot be read.
    pub(crate) fn headers_as_received(&self) -> Option<Vec<HeaderRef<'_>>> {
        match &self.native_headers {
            _ if self.headers_unreadable => None,
            Some(native) => Some(native.iter().map(|header| (header.key, header.value)).collect()),
            None => Some(self.readable_headers()),
        }
    }

    /// Returns the headers that could be read.
    pub(crate) fn readable_headers(&self) -> Vec<HeaderRef<'_>> {
        self.headers.iter().map(|(name, value)| (name.as_str(), Some(value.as_ref()))).collect()
    }

    /// Returns librdkafka's own copy of the headers, for those that this crate cannot read.
    pub(crate) fn headers_verbatim(&self) -> OwnedHeaders {
        match &self.native_headers {
            Some(native) => native.clone(),
            None => to_native(&self.headers),
        }
    }
}

/// A record to publish. [`crate::Producer::publish_raw`] adds the trace and the send time, and keeps only the last header of each
/// name.
#[derive(Clone, Debug)]
pub struct RawRecord {
    /// Catalogue name of the topic.
    pub topic: String,
    /// The key, which selects the partition. Records without one are spread at random.
    pub key: Option<Bytes>,
    /// The headers in their order, without trace headers.
    pub headers: Vec<(String, Bytes)>,
    /// The value.
    pub value: Bytes,
}

impl RawRecord {
    /// Returns the record as a reader decodes it, for tests of programs that publish records. It has no place yet.
    #[must_use]
    pub fn view(&self) -> RecordView<'_> {
        RecordView {
            topic: &self.topic,
            partition: 0,
            offset: 0,
            timestamp_ms: None,
            headers: &self.headers,
            value: &self.value,
        }
    }
}

pub(crate) fn to_native(headers: &[(String, Bytes)]) -> OwnedHeaders {
    headers.iter().fold(OwnedHeaders::new_with_capacity(headers.len()), |native, (name, value)| {
        native.insert(Header { key: name, value: Some(value.as_ref()) })
    })
}

/// Number of headers up to which each is compared with each, which needs no memory. Our records have about a dozen.
const COMPARED_MAX: usize = 32;

fn has_repeated_name(headers: &[(String, Bytes)]) -> bool {
    let mut rest = headers;
    while let Some(((name, _), later)) = rest.split_first() {
        if later.iter().any(|(other, _)| other == name) {
            return true;
        }
        rest = later;
    }
    false
}

/// Keeps only the last header of each name.
pub(crate) fn keep_last_of_each(headers: &mut Vec<(String, Bytes)>) {
    if headers.len() <= COMPARED_MAX && !has_repeated_name(headers) {
        return;
    }
    let mut seen = HashSet::with_capacity(headers.len());
    // Starts at the end, so `pop` yields the entry of the first header first.
    let mut are_last: Vec<bool> = headers.iter().rev().map(|(name, _)| seen.insert(name.as_str())).collect();
    headers.retain(|_| are_last.pop().unwrap_or_default());
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Returns an empty record.
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

    #[test]
    fn bookkeeping_counts_only_in_a_retry_topic() {
        let mut record = record();
        let parent = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01";
        record.headers = [
            (headers::DLQ_LAPS, "2"),
            (headers::DLQ_ATTEMPTS, "7"),
            (headers::DLQ_DUE_MS, "1764000000000"),
            (headers::DLQ_RETRY_TRACEPARENT, parent),
        ]
        .map(|(name, value)| (name.to_owned(), Bytes::from(value)))
        .to_vec();
        let read = |record: &Record| (record.laps(), record.earlier_attempts(), record.due_ms());
        assert_eq!((read(&record), record.retry_traceparent()), ((0, 0, None), None));
        "casino.bets.events.v1.retry.analytics".clone_into(&mut record.topic);
        assert_eq!(read(&record), (2, 7, Some(1_764_000_000_000)));
        assert_eq!(record.retry_traceparent(), Some(parent.as_bytes()));
    }

    /// The run time must grow linearly with the number of headers. With quadratic growth this test would not finish.
    #[test]
    fn many_headers_are_deduplicated() {
        let one = |n: usize| (format!("{n:x}"), Bytes::new());
        let mut headers: Vec<_> = (0..400_000).map(one).chain((0..10).map(one)).collect();
        keep_last_of_each(&mut headers);
        assert_eq!(headers.len(), 400_000);
    }

    #[test]
    fn last_header_of_each_exact_name_is_kept() {
        let header =
            |(name, value): &(&str, &'static str)| ((*name).to_owned(), Bytes::from_static(value.as_bytes()));
        let written = |pairs: &[(&str, &'static str)]| pairs.iter().map(header).collect::<Vec<_>>();
        let mut headers = written(&[("a", "1"), ("b", "2"), ("a", "3"), ("A", "4"), ("a", "5")]);
        keep_last_of_each(&mut headers);
        assert_eq!(headers, written(&[("b", "2"), ("A", "4"), ("a", "5")]));
        keep_last_of_each(&mut headers);
        assert_eq!(headers.len(), 3);
        keep_last_of_each(&mut Vec::new());
        let mut many: Vec<_> = (0..COMPARED_MAX + 1).map(|n| (format!("h{n}"), Bytes::new())).collect();
        keep_last_of_each(&mut many);
        assert_eq!(many.len(), COMPARED_MAX + 1);
    }
}
