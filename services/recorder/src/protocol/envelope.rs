//! Envelope format: a header line, then items that consist of a header line and a payload.
//!
//! Parsing borrows from the body and copies nothing. It accepts what Sentry's own servers accept and returns an error for
//! anything else. A body that cannot be parsed is not stored, so it must never be acknowledged with 200.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::fields::Fields;

/// Largest number of items, more than any SDK sends. The limit keeps a body of many tiny items cheap.
pub const ITEMS_MAX: usize = 1024;

/// Namespace of generated event ids. A change would rename every event that arrived without an id.
const GENERATED_IDS: uuid::Uuid = uuid::Uuid::from_bytes(*b"pitboss-eventids");

/// Types of items that belong to an event.
const WITH_EVENT_ID: [&str; 9] = [
    "event",
    "transaction",
    "attachment",
    "feedback",
    "user_report",
    "profile",
    "replay_event",
    "replay_recording",
    "security",
];

/// Error when a body is not an envelope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The first line is missing or not a JSON object.
    #[error("invalid envelope header: {0}")]
    Header(String),
    /// The header's `event_id` is not a UUID.
    #[error("invalid envelope header: event_id is not a UUID")]
    EventId,
    /// An item's header line is not a JSON object with a `type`.
    #[error("invalid item header in item {index}: {reason}")]
    ItemHeader {
        /// Position of the item, from zero.
        index: usize,
        /// Error of the JSON parser.
        reason: String,
    },
    /// The item's header gives a length beyond the end of the body.
    #[error("item {index} has the length {length}, but only {available} bytes follow")]
    ItemLength {
        /// Position of the item, from zero.
        index: usize,
        /// Length in the item's header.
        length: u64,
        /// Bytes left in the body.
        available: usize,
    },
    /// A payload with a length is not followed by a newline.
    #[error("the payload of item {index} is not followed by a newline")]
    ItemEnd {
        /// Position of the item, from zero.
        index: usize,
    },
    /// The envelope has more than [`ITEMS_MAX`] items.
    #[error("more than {ITEMS_MAX} items")]
    TooManyItems,
}

/// One parsed envelope, borrowing from the body.
#[derive(Debug)]
pub struct Envelope<'a> {
    /// Header line as received.
    pub headers_raw: &'a str,
    /// Header fields that the recorder uses.
    pub headers: Headers<'a>,
    /// The items in order.
    pub items: Vec<Item<'a>>,
}

/// Header fields that the recorder uses.
#[derive(Debug, Default, Deserialize)]
pub struct Headers<'a> {
    /// Event id as received. [`event_id`] returns the canonical form.
    #[serde(borrow, default)]
    pub event_id: Option<Cow<'a, str>>,
    /// DSN that authenticates an envelope sent without any other key.
    #[serde(borrow, default)]
    pub dsn: Option<Cow<'a, str>>,
    /// Present in an envelope that the recorder has made of a minidump ([`super::digest::MINIDUMP_SEQ`]).
    #[serde(default, rename = "pitboss_minidump_seq")]
    pub minidump_seq: Option<serde::de::IgnoredAny>,
}

/// One item, borrowing from the body.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// The item's header line as received.
    pub headers_raw: &'a str,
    /// Type as received, in JSON quotes.
    type_raw: &'a RawValue,
    /// Bytes of the payload. Empty when they are [`Item::omitted`].
    pub payload: &'a [u8],
    /// Length of a payload that is stored but was not read into memory, because it is not parsed.
    pub omitted: u64,
}

impl<'a> Item<'a> {
    /// Creates an item from its header line and a payload from elsewhere.
    pub(crate) fn from_parts(
        line: &'a [u8],
        payload: &'a [u8],
        omitted: u64,
        index: usize,
    ) -> Result<Self, EnvelopeError> {
        let (headers_raw, head) = item_head(line, index)?;
        Ok(Self { headers_raw, type_raw: head.item_type, payload, omitted })
    }

    /// Returns the length of the payload, whether it is in memory or not.
    #[must_use]
    pub fn payload_bytes(&self) -> u64 {
        self.omitted.max(self.payload.len() as u64)
    }

    /// Returns the item's type, such as `transaction`.
    #[must_use]
    pub fn item_type(&self) -> Cow<'a, str> {
        serde_json::from_str::<BorrowedText<'a>>(self.type_raw.get()).map(|text| text.0).unwrap_or_default()
    }

    /// Returns the payload as JSON text, if it is JSON.
    #[must_use]
    pub fn json(&self) -> Option<&'a str> {
        serde_json::from_slice::<&RawValue>(self.payload).ok().map(RawValue::get)
    }
}

#[derive(Deserialize)]
struct BorrowedText<'a>(#[serde(borrow)] Cow<'a, str>);

/// Fields of an item's header.
#[derive(Deserialize)]
pub(crate) struct ItemHead<'a> {
    #[serde(borrow, rename = "type")]
    item_type: &'a RawValue,
    /// Length of the payload. Without it, the payload ends with its line.
    #[serde(default)]
    pub(crate) length: Option<u64>,
}

impl ItemHead<'_> {
    /// Returns the item's type, such as `transaction`.
    pub(crate) fn item_type(&self) -> Cow<'_, str> {
        serde_json::from_str::<BorrowedText<'_>>(self.item_type.get()).map(|text| text.0).unwrap_or_default()
    }
}

/// Parses an item's header line.
pub(crate) fn item_head(line: &[u8], index: usize) -> Result<(&str, ItemHead<'_>), EnvelopeError> {
    let bad = |reason: String| EnvelopeError::ItemHeader { index, reason };
    let headers_raw = json_object(line).map_err(bad)?;
    let head: ItemHead<'_> = serde_json::from_str(headers_raw).map_err(|error| bad(error.to_string()))?;
    if head.item_type.get().starts_with('"') {
        Ok((headers_raw, head))
    } else {
        Err(bad("type is not a string".to_owned()))
    }
}

impl<'a> Envelope<'a> {
    /// Parses a whole body.
    pub fn parse(body: &'a [u8]) -> Result<Self, EnvelopeError> {
        let (line, mut rest) = split_line(body);
        let mut envelope = Self::of_header(line)?;
        loop {
            rest = skip_newlines(rest);
            if rest.is_empty() {
                return Ok(envelope);
            }
            if envelope.items.len() == ITEMS_MAX {
                return Err(EnvelopeError::TooManyItems);
            }
            let (item, after) = parse_item(rest, envelope.items.len())?;
            envelope.items.push(item);
            rest = after;
        }
    }

    /// Parses a header line into an envelope without items.
    pub(crate) fn of_header(line: &'a [u8]) -> Result<Self, EnvelopeError> {
        let headers_raw = json_object(line).map_err(EnvelopeError::Header)?;
        let headers: Headers<'a> =
            serde_json::from_str(headers_raw).map_err(|error| EnvelopeError::Header(error.to_string()))?;
        if headers.event_id.as_deref().is_some_and(|id| event_id(id).is_none()) {
            return Err(EnvelopeError::EventId);
        }
        Ok(Self { headers_raw, headers, items: Vec::new() })
    }

    /// Returns true when an item belongs to an event. Such an envelope has an id, sent or generated.
    #[must_use]
    pub fn needs_event_id(&self) -> bool {
        self.items.iter().any(|item| WITH_EVENT_ID.contains(&item.item_type().as_ref()))
    }

    /// Returns the id in the payload of the first event or transaction, for a header without an id.
    #[must_use]
    pub fn payload_event_id(&self) -> Option<String> {
        let mut events =
            self.items.iter().filter(|item| matches!(&*item.item_type(), "event" | "transaction"));
        let json = events.next().and_then(Item::json)?;
        Fields::parse(json).text("event_id").as_deref().and_then(event_id)
    }

    /// Returns the header's event id in canonical form: 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn event_id(&self) -> Option<String> {
        self.headers.event_id.as_deref().and_then(event_id)
    }
}

/// Converts an id to Sentry's form: 32 hexadecimal digits, from a UUID with or without hyphens.
#[must_use]
pub fn event_id(text: &str) -> Option<String> {
    uuid::Uuid::try_parse(text).ok().map(|id| id.simple().to_string())
}

/// Returns the id of an event that was sent without one. It depends only on position and time, so it never changes.
#[must_use]
pub fn generated_id(seq: u64, received_at: f64) -> String {
    let place = [seq.to_be_bytes(), received_at.to_bits().to_be_bytes()].concat();
    uuid::Uuid::new_v5(&GENERATED_IDS, &place).simple().to_string()
}

fn parse_item(body: &[u8], index: usize) -> Result<(Item<'_>, &[u8]), EnvelopeError> {
    let (line, rest) = split_line(body);
    let (headers_raw, head) = item_head(line, index)?;
    let (payload, after) = match head.length {
        Some(length) => split_payload(rest, length, index)?,
        None => split_line(rest),
    };
    Ok((Item { headers_raw, type_raw: head.item_type, payload, omitted: 0 }, after))
}

fn split_payload(rest: &[u8], length: u64, index: usize) -> Result<(&[u8], &[u8]), EnvelopeError> {
    let available = rest.len();
    let (payload, after) = usize::try_from(length)
        .ok()
        .and_then(|length| rest.split_at_checked(length))
        .ok_or(EnvelopeError::ItemLength { index, length, available })?;
    match after {
        [] => Ok((payload, after)),
        [b'\n', after @ ..] | [b'\r', b'\n', after @ ..] => Ok((payload, after)),
        _ => Err(EnvelopeError::ItemEnd { index }),
    }
}

/// Returns the line without its newline, and the rest.
fn split_line(body: &[u8]) -> (&[u8], &[u8]) {
    match body.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&body[..end], &body[end + 1..]),
        None => (body, &[]),
    }
}

fn skip_newlines(mut body: &[u8]) -> &[u8] {
    while let [b'\n' | b'\r', after @ ..] = body {
        body = after;
    }
    body
}

/// Returns the line as JSON text, if it is one JSON object.
fn json_object(line: &[u8]) -> Result<&str, String> {
    let raw: &RawValue = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    if raw.get().starts_with('{') { Ok(raw.get()) } else { Err("not a JSON object".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(body: &[u8]) -> Vec<(String, Vec<u8>)> {
        let envelope = Envelope::parse(body).expect("an envelope");
        envelope.items.iter().map(|item| (item.item_type().into_owned(), item.payload.to_vec())).collect()
    }

    #[test]
    fn payload_ends_by_length_newline_or_end_of_body() {
        let cases: [(&[u8], usize); 9] = [
            (b"{}", 0),
            (b"{}\n", 0),
            (b"{}\n\n\n", 0),
            (b"{}\n{\"type\":\"a\"}\nxyz", 1),
            (b"{}\n{\"type\":\"a\",\"length\":3}\nxyz", 1),
            (b"{}\r\n{\"type\":\"a\",\"length\":3}\r\nxyz\r\n{\"type\":\"b\"}\r\n{}", 2),
            (b"{}\n{\"type\":\"a\",\"length\":3}\nx\nz\n{\"type\":\"b\"}\n{}\n", 2),
            (b"{}\n{\"type\":\"a\",\"length\":0}\n\n{\"type\":\"b\",\"length\":0}\n", 2),
            (b"{}\n{\"type\":\"a\"}", 1),
        ];
        for (body, items) in cases {
            assert_eq!(types(body).len(), items, "{}", String::from_utf8_lossy(body));
        }
        assert_eq!(
            types(b"{}\n{\"type\":\"a\",\"length\":3}\nx\nz\n{\"type\":\"\\u0062\"}\n{}\n"),
            [("a".to_owned(), b"x\nz".to_vec()), ("b".to_owned(), b"{}".to_vec())]
        );
    }

    #[test]
    fn malformed_envelopes_are_refused() {
        let cases: [&[u8]; 11] = [
            b"",
            b"\n",
            b"[]",
            b"{",
            b"\xff\xfe",
            b"{\"event_id\":\"nope\"}\n",
            b"{}\n{}\n",
            b"{}\n{\"type\":1}\nx",
            b"{}\n{\"type\":\"a\",\"length\":4}\nxyz",
            b"{}\n{\"type\":\"a\",\"length\":2}\nxyz",
            b"{}\n{\"type\":\"a\",\"length\":18446744073709551615}\nxyz",
        ];
        for body in cases {
            assert!(Envelope::parse(body).is_err(), "{}", String::from_utf8_lossy(body));
        }
        let mut many = b"{}\n".to_vec();
        for _ in 0..=ITEMS_MAX {
            many.extend_from_slice(b"{\"type\":\"a\",\"length\":0}\n\n");
        }
        assert_eq!(Envelope::parse(&many).expect_err("too many"), EnvelopeError::TooManyItems);
    }

    #[test]
    fn event_ids_are_canonical() {
        let body = b"{\"event_id\":\"9EC79C33-EC99-42AB-8353-589FCB2E04DC\"}\n";
        let envelope = Envelope::parse(body).expect("an envelope");
        assert_eq!(envelope.event_id().as_deref(), Some("9ec79c33ec9942ab8353589fcb2e04dc"));
    }
}
