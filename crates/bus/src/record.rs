//! One Kafka record, owned: what came from the broker, byte for byte, and what goes there.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use contracts::RecordView;
use rdkafka::Message as _;
use rdkafka::Timestamp;
use rdkafka::message::{BorrowedMessage, Header, Headers as _, OwnedHeaders};

use crate::names::Names;

/// What one record costs besides its bytes: the structs, the ledger's entry, the lane's entry.
const RECORD_OVERHEAD_BYTES: usize = 512;

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
    /// The headers in their order; a name may come more than once.
    pub headers: Vec<(String, Bytes)>,
    /// The value; empty for a tombstone too.
    pub value: Bytes,
    /// When the producer made it (or the broker took it), in milliseconds since the epoch.
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
        let headers = &mut self.headers;
        let read = catch_unwind(AssertUnwindSafe(|| {
            for header in borrowed.iter() {
                has_null |= header.value.is_none();
                let value = header.value.map(Bytes::copy_from_slice).unwrap_or_default();
                headers.push((header.key.to_owned(), value));
            }
        }));
        self.headers_unreadable = read.is_err();
        if self.headers_unreadable || has_null {
            self.native_headers = Some(borrowed.detach());
        }
    }

    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&Bytes> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value)
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

    /// The headers as they came, ready to be sent again.
    pub(crate) fn headers_verbatim(&self) -> OwnedHeaders {
        match &self.native_headers {
            Some(native) => native.clone(),
            None => to_native(&self.headers),
        }
    }
}

/// A record to publish as it is; [`crate::Producer::publish_raw`] adds only the trace headers.
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
