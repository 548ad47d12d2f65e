//! The part of a record that its dead letter carries: all of it, or what fits.

use contracts::headers;
use rdkafka::message::{Header, Headers as _, OwnedHeaders};
use telemetry::propagation::{self, SENTRY_TRACE, TRACEPARENT};

use crate::record::{HeaderRef, Record};

/// Maximum overhead of a header besides its name and its value.
const HEADER_OVERHEAD_BYTES: usize = 10;

/// The part of a record that its dead letter carries.
pub(super) struct Part<'a> {
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: OwnedHeaders,
    /// Missing parts: the header that reports each, and its amount.
    cuts: Vec<(&'static str, usize)>,
}

impl<'a> Part<'a> {
    /// The whole record.
    pub(super) fn whole(record: &'a Record) -> Self {
        let headers = match record.headers_as_received() {
            Some(received) => native(&original_headers(&received)),
            None => record.headers_verbatim(), // a name is not UTF-8, so no header can be removed
        };
        Self { key: record.key.as_deref(), value: value_of(record), headers, cuts: Vec::new() }
    }

    /// The part that fits into `bytes_max`: the key or none, the headers that fit, and the beginning of the value.
    pub(super) fn within(record: &'a Record, bytes_max: usize) -> Self {
        let (mut left, mut cuts) = (bytes_max, Vec::new());
        let mut cut = |name, amount| cuts.push((name, amount));

        let mut key = record.key.as_deref();
        match key.map(<[u8]>::len) {
            Some(bytes) if bytes > left / 4 => {
                cut(headers::DLQ_KEY_DROPPED, bytes);
                key = None;
            }
            bytes => left -= bytes.unwrap_or(0),
        }

        let received = record.headers_as_received().unwrap_or_else(|| record.readable_headers());
        let (mut room, all) = (left / 2, original_headers(&received));
        let mut kept = Vec::new();
        for (name, value) in &all {
            let cost = name.len() + value.map_or(0, <[u8]>::len) + HEADER_OVERHEAD_BYTES;
            if cost <= room {
                room -= cost;
                left -= cost;
                kept.push((*name, *value));
            }
        }
        let count = if record.headers_unreadable { record.headers_verbatim().count() } else { all.len() };
        if kept.len() < count {
            cut(headers::DLQ_HEADERS_DROPPED, count - kept.len());
        }

        let mut value = value_of(record);
        if let Some(beginning) = value.and_then(|value| value.get(..left)) {
            if beginning.len() < record.value.len() {
                cut(headers::DLQ_VALUE_TRUNCATED, record.value.len());
            }
            value = Some(beginning);
        }
        Self { key, value, headers: native(&kept), cuts }
    }

    pub(super) fn is_cut(&self) -> bool {
        !self.cuts.is_empty()
    }

    /// Returns the amount for this header: size of a dropped key, number of dropped headers, or full size of a truncated value.
    pub(super) fn cut(&self, name: &str) -> Option<usize> {
        self.cuts.iter().find(|(cut, _)| *cut == name).map(|(_, amount)| *amount)
    }
}

fn value_of(record: &Record) -> Option<&[u8]> {
    (!record.is_tombstone).then_some(record.value.as_ref())
}

fn native(received: &[HeaderRef<'_>]) -> OwnedHeaders {
    received.iter().fold(OwnedHeaders::new_with_capacity(received.len()), |native, (key, value)| {
        native.insert(Header { key, value: *value })
    })
}

/// Returns the record's own headers as received, without those of an earlier dead letter. Of several `traceparent` or
/// `sentry-trace` headers, the effective one stays. Lists (`baggage`, `tracestate`) stay separate: joined, the entries of two
/// traces would look like one trace's, and readers discard a list that is too long.
fn original_headers<'a>(received: &[HeaderRef<'a>]) -> Vec<HeaderRef<'a>> {
    let single = [TRACEPARENT, SENTRY_TRACE].map(|name| (name, effective_index(received, name)));
    let stays = |index: usize, (name, value): &HeaderRef<'_>| {
        let effective = single.iter().find(|(known, _)| known == name).and_then(|(_, effective)| *effective);
        !name.starts_with(headers::DLQ_PREFIX)
            && effective.is_none_or(|effective| index == effective || value.is_none())
    };
    received
        .iter()
        .enumerate()
        .filter(|(index, header)| stays(*index, header))
        .map(|(_, header)| *header)
        .collect()
}

/// Returns the index of the header of this name that readers use: the last that names a trace, else the last.
fn effective_index(received: &[HeaderRef<'_>], name: &str) -> Option<usize> {
    let last = |is_usable: &dyn Fn(&[u8]) -> bool| {
        received.iter().rposition(|(other, value)| *other == name && value.is_some_and(is_usable))
    };
    last(&|value| propagation::names_a_trace(name, value)).or_else(|| last(&|_| true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::record;

    const FIRST: &[u8] = b"00-0123456789abcdef0123456789abcdef-0123456789abcdef-01";
    const SECOND: &[u8] = b"00-fedcba9876543210fedcba9876543210-fedcba9876543210-01";

    /// The run time must grow linearly with the number of headers. With quadratic growth this test would not finish.
    #[test]
    fn hundreds_of_thousands_of_headers_are_kept() {
        const COUNT: usize = 400_000;
        let numbered: Vec<(String, Vec<u8>)> = (0..COUNT).map(|n| (format!("{n:x}"), Vec::new())).collect();
        let received: Vec<HeaderRef<'_>> =
            numbered.iter().map(|(name, value)| (name.as_str(), Some(&value[..]))).collect();
        assert_eq!(original_headers(&received), received);
        let traces = vec![(TRACEPARENT, Some(&b"damaged"[..])); COUNT];
        assert_eq!(original_headers(&traces).len(), 1);
    }

    #[test]
    fn effective_trace_header_is_kept() {
        let (baggage, state) = (propagation::BAGGAGE, propagation::TRACESTATE);
        let received: Vec<HeaderRef<'_>> = vec![
            (TRACEPARENT, Some(FIRST)),
            (baggage, Some(b"sentry-trace_id=0123456789abcdef0123456789abcdef,sentry-release=a")),
            (TRACEPARENT, Some(SECOND)),
            (baggage, Some(b"sentry-trace_id=fedcba9876543210fedcba9876543210,sentry-release=b")),
            (state, Some(b"a=1")),
            (state, Some(b"damaged")),
            (TRACEPARENT, Some(b"damaged")),
            (headers::DLQ_AT, Some(b"then")),
            ("twice", Some(b"1")),
            ("twice", Some(b"2")),
        ];
        let kept = original_headers(&received);
        let expected: Vec<HeaderRef<'_>> =
            [1, 2, 3, 4, 5, 8, 9].into_iter().map(|index: usize| received[index]).collect();
        assert_eq!(kept, expected);
        // A reader of the dead letter sees the same trace as its consumer did
        let read = |headers: &[HeaderRef<'_>]| {
            let valued = headers.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
            propagation::headers_of(&propagation::extract(valued))
        };
        assert_eq!(read(&kept), read(&received));
        assert!(read(&kept).iter().any(|(_, value)| value.contains("sentry-release=b")));
    }

    #[test]
    fn dropped_parts_are_counted() {
        let large = vec![b'v'; 3_000_000];
        let part_of = |key: usize, headers: usize, value: &[u8], bytes_max: usize| {
            let mut record = record();
            record.key = Some(vec![b'k'; key].into());
            record.headers = (0..headers).map(|n| (format!("h{n}"), "1".into())).collect();
            record.value = value.to_vec().into();
            let part = Part::within(&record, bytes_max);
            let sizes = (part.key.map(<[u8]>::len), part.headers.count(), part.value.map(<[u8]>::len));
            let cuts = headers::DLQ_CUTS.map(|name| part.cut(name));
            (sizes, cuts, part.is_cut())
        };
        assert_eq!(part_of(10, 2, b"v", 1_000), ((Some(10), 2, Some(1)), [None; 3], false));
        let (sizes, cuts, _) = part_of(10, 2, &large, 1_000);
        assert_eq!(sizes, (Some(10), 2, Some(1_000 - 10 - 26)));
        assert_eq!(cuts, [Some(3_000_000), None, None]);
        let (sizes, cuts, _) = part_of(1_000, 100_000, &large, 1_000);
        assert_eq!((sizes.0, cuts[2]), (None, Some(1_000)));
        assert_eq!(cuts[1], Some(100_000 - sizes.1));
        assert!(sizes.1 > 30 && sizes.2.is_some_and(|bytes| bytes >= 500), "{sizes:?}");
    }
}
