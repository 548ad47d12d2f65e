//! CloudEvents binary mode: attributes in headers, the message in the value.

use super::header_set::HeaderSet;
use super::{Attributes, parse_time};
use crate::decode_error::DecodeError;
use crate::json::printable;
use crate::message::Message;
use crate::{EventType, headers};

/// Longest source we take.
pub(super) const SOURCE_BYTES_MAX: usize = 256;

/// The first byte of a schema registry's frame; no protobuf message begins with it.
const FRAME_MAGIC: u8 = 0;
/// The frame's magic byte and schema id.
const FRAME_BYTES: usize = 5;
/// The deepest nesting that a frame's message index may name.
const FRAME_INDEXES_MAX: u64 = 16;

/// How the value is to be read.
enum ValueForm<'a> {
    Json(&'a [u8]),
    Protobuf(&'a [u8]),
}

pub(super) fn decode(set: &HeaderSet<'_>, value: &[u8]) -> Result<(Attributes, Message), DecodeError> {
    let event_type = known_type(set.event_type.unwrap_or_default())?;
    if set.spec_version.is_some_and(|version| version != headers::SPEC_VERSION) {
        return Err(DecodeError::Header { name: headers::CE_SPECVERSION, problem: "is not 1.0" });
    }
    let attributes = attributes(set)?;
    let message = match value_form(set, value)? {
        ValueForm::Json(bytes) => {
            let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::NotUtf8)?;
            Message::from_json(event_type, text)?
        }
        ValueForm::Protobuf([]) => return Err(DecodeError::EmptyValue),
        ValueForm::Protobuf(bytes) => Message::from_protobuf(event_type, bytes)?,
    };
    Ok((attributes, message))
}

/// The type by its name.
pub(super) fn known_type(name: &str) -> Result<EventType, DecodeError> {
    name.parse().map_err(|_| DecodeError::UnknownType { name: printable(name) })
}

fn attributes(set: &HeaderSet<'_>) -> Result<Attributes, DecodeError> {
    let wrong = |name: &'static str, problem: &'static str| DecodeError::Header { name, problem };
    let id = |name: &'static str, text: Option<&str>| {
        text.map(str::parse).transpose().map_err(|_| wrong(name, "is not 1 to 128 visible ASCII characters"))
    };
    let time = match set.time {
        Some(text) => {
            Some(parse_time(text).ok_or_else(|| wrong(headers::CE_TIME, "is not an RFC 3339 time"))?)
        }
        None => None,
    };
    let request_hash = set.request_hash.map(str::parse).transpose();
    if set.source.is_some_and(|source| source.len() > SOURCE_BYTES_MAX) {
        return Err(wrong(headers::CE_SOURCE, "is too long"));
    }
    Ok(Attributes {
        id: id(headers::CE_ID, set.id)?,
        source: set.source.map(str::to_owned),
        time,
        subject: set.subject.map(str::to_owned),
        causation_id: id(headers::CE_CAUSATIONID, set.causation_id)?,
        request_hash: request_hash
            .map_err(|_| wrong(headers::CE_REQUESTHASH, "is not 64 lower-case hexadecimal digits"))?,
    })
}

/// The content type decides; without one, the first byte. Nothing is trimmed: a line feed is a valid protobuf tag.
fn value_form<'a>(set: &HeaderSet<'_>, value: &'a [u8]) -> Result<ValueForm<'a>, DecodeError> {
    let first = value.first().copied();
    match set.media_type().as_deref() {
        Some(headers::APPLICATION_JSON) => Ok(ValueForm::Json(value)),
        None if first == Some(b'{') => Ok(ValueForm::Json(value)),
        Some(headers::APPLICATION_PROTOBUF) | None if first == Some(FRAME_MAGIC) => {
            Ok(ValueForm::Protobuf(unframed(value)?))
        }
        Some(headers::APPLICATION_PROTOBUF) | None => Ok(ValueForm::Protobuf(value)),
        Some(other) => Err(DecodeError::UnknownContentType { name: printable(other) }),
    }
}

/// The message within a schema registry's frame: magic byte, schema id, message indexes (zigzag varints; a single
/// zero stands for the first message).
fn unframed(value: &[u8]) -> Result<&[u8], DecodeError> {
    let rest = value.get(FRAME_BYTES..).ok_or(DecodeError::Frame)?;
    let (count, mut rest) = varint(rest)?;
    // Zigzag: an even number n stands for n/2, an odd one for a negative count.
    if count % 2 == 1 || count / 2 > FRAME_INDEXES_MAX {
        return Err(DecodeError::Frame);
    }
    for _ in 0..count / 2 {
        (_, rest) = varint(rest)?;
    }
    Ok(rest)
}

/// One base-128 number and what follows it.
fn varint(bytes: &[u8]) -> Result<(u64, &[u8]), DecodeError> {
    let mut number = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(9) {
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let rest = bytes.get(index + 1..).unwrap_or_default();
            return Ok((number, rest));
        }
    }
    Err(DecodeError::Frame)
}
