//! The envelope format: a header line, then items of a header line and a payload.
//!
//! Promise: parsing borrows from the body (nothing is copied), accepts what Sentry's own servers accept, and says what
//! was wrong with the rest. What cannot be parsed was not kept, so it must never have been answered with 200.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// More items than any SDK sends; above it an envelope is refused, so that a body of newlines costs nothing.
pub const ITEMS_MAX: usize = 1024;

/// Why a body is not an envelope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The first line is absent or not a JSON object.
    #[error("invalid envelope header: {0}")]
    Header(String),
    /// `event_id` is present and not a UUID.
    #[error("invalid envelope header: event_id is not a UUID")]
    EventId,
    /// An item's header line is not a JSON object with a `type`.
    #[error("invalid item header in item {index}: {reason}")]
    ItemHeader {
        /// Position of the item, from zero.
        index: usize,
        /// What the JSON parser said.
        reason: String,
    },
    /// The item announces more bytes than there are.
    #[error("item {index} announces {length} bytes, {available} follow")]
    ItemLength {
        /// Position of the item, from zero.
        index: usize,
        /// What its header says.
        length: u64,
        /// What the body still has.
        available: usize,
    },
    /// The payload with a length is followed by something else than a newline.
    #[error("item {index} is not ended by a newline")]
    ItemEnd {
        /// Position of the item, from zero.
        index: usize,
    },
    /// More than [`ITEMS_MAX`] items.
    #[error("more than {ITEMS_MAX} items")]
    TooManyItems,
}

/// One parsed envelope, borrowing from the body.
#[derive(Debug)]
pub struct Envelope<'a> {
    /// The header line, as it came.
    pub headers_raw: &'a str,
    /// What the recorder reads of it.
    pub headers: Headers<'a>,
    /// The items in order.
    pub items: Vec<Item<'a>>,
}

/// The header fields that matter here.
#[derive(Debug, Default, Deserialize)]
pub struct Headers<'a> {
    /// The event's id as it was sent; [`event_id`] gives the canonical form.
    #[serde(borrow, default)]
    pub event_id: Option<Cow<'a, str>>,
    /// DSN that authenticates an envelope sent without any other key.
    #[serde(borrow, default)]
    pub dsn: Option<Cow<'a, str>>,
}

/// One item, borrowing from the body.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// The item's header line, as it came.
    pub headers_raw: &'a str,
    /// Its type as it was sent, in JSON quotes.
    type_raw: &'a RawValue,
    /// The payload's bytes.
    pub payload: &'a [u8],
}

impl<'a> Item<'a> {
    /// The item's type, such as `transaction`.
    #[must_use]
    pub fn item_type(&self) -> Cow<'a, str> {
        serde_json::from_str::<BorrowedText<'a>>(self.type_raw.get()).map(|text| text.0).unwrap_or_default()
    }

    /// The payload as JSON text, if it is JSON.
    #[must_use]
    pub fn json(&self) -> Option<&'a str> {
        serde_json::from_slice::<&RawValue>(self.payload).ok().map(RawValue::get)
    }
}

#[derive(Deserialize)]
struct BorrowedText<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct ItemHeaders<'a> {
    #[serde(borrow, rename = "type")]
    item_type: &'a RawValue,
    #[serde(default)]
    length: Option<u64>,
}

impl<'a> Envelope<'a> {
    /// Parses a whole body.
    ///
    /// # Errors
    /// Says which part of the body is not in the format.
    pub fn parse(body: &'a [u8]) -> Result<Self, EnvelopeError> {
        let (line, mut rest) = split_line(body);
        let headers_raw = json_object(line).map_err(EnvelopeError::Header)?;
        let headers: Headers<'a> =
            serde_json::from_str(headers_raw).map_err(|error| EnvelopeError::Header(error.to_string()))?;
        if headers.event_id.as_deref().is_some_and(|id| event_id(id).is_none()) {
            return Err(EnvelopeError::EventId);
        }
        let mut items = Vec::new();
        loop {
            rest = skip_newlines(rest);
            if rest.is_empty() {
                return Ok(Self { headers_raw, headers, items });
            }
            if items.len() == ITEMS_MAX {
                return Err(EnvelopeError::TooManyItems);
            }
            let (item, after) = parse_item(rest, items.len())?;
            items.push(item);
            rest = after;
        }
    }

    /// The event id in canonical form: 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn event_id(&self) -> Option<String> {
        self.headers.event_id.as_deref().and_then(event_id)
    }
}

/// An id as Sentry writes it: 32 hexadecimal digits, from a UUID with or without hyphens.
#[must_use]
pub fn event_id(text: &str) -> Option<String> {
    uuid::Uuid::try_parse(text).ok().map(|id| id.simple().to_string())
}

fn parse_item(body: &[u8], index: usize) -> Result<(Item<'_>, &[u8]), EnvelopeError> {
    let (line, rest) = split_line(body);
    let bad = |reason: String| EnvelopeError::ItemHeader { index, reason };
    let headers_raw = json_object(line).map_err(bad)?;
    let headers: ItemHeaders<'_> =
        serde_json::from_str(headers_raw).map_err(|error| bad(error.to_string()))?;
    if !headers.item_type.get().starts_with('"') {
        return Err(bad("type is not a string".to_owned()));
    }
    let (payload, after) = match headers.length {
        Some(length) => split_payload(rest, length, index)?,
        None => split_line(rest),
    };
    Ok((Item { headers_raw, type_raw: headers.item_type, payload }, after))
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

/// The line without its newline, and what follows.
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

/// The line as JSON text, if it is one JSON object.
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
    fn lengths_newlines_and_the_end() {
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
    fn what_is_refused() {
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
    fn ids_are_canonical() {
        let body = b"{\"event_id\":\"9EC79C33-EC99-42AB-8353-589FCB2E04DC\"}\n";
        let envelope = Envelope::parse(body).expect("an envelope");
        assert_eq!(envelope.event_id().as_deref(), Some("9ec79c33ec9942ab8353589fcb2e04dc"));
    }
}
