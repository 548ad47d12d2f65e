//! Decoding of a message's bytes: JSON or protobuf, with or without a schema registry's frame.

use super::media_type::MediaType;
use crate::EventType;
use crate::decode_error::DecodeError;
use crate::message::Message;

/// The first byte of a schema registry's frame. Neither JSON nor a protobuf message begins with it.
const FRAME_MAGIC: u8 = 0;
/// Size of the frame's magic byte and schema id.
const FRAME_BYTES: usize = 5;
/// The deepest nesting that a frame's message index may name.
const FRAME_INDEXES_MAX: u64 = 16;

/// Decodes a message of this type. The media type selects the form. Without a media type the first byte selects it.
/// Whitespace is not trimmed, because a line feed is a valid protobuf tag.
pub(super) fn read(
    event_type: EventType,
    media_type: Option<&MediaType>,
    value: &[u8],
) -> Result<Message, DecodeError> {
    let body = unframed(value)?;
    let is_json = match media_type {
        Some(media_type) if media_type.is_json() => true,
        Some(media_type) if media_type.is_protobuf() => false,
        Some(media_type) => return Err(media_type.unknown()),
        None => body.first() == Some(&b'{'),
    };
    if is_json {
        return read_json(event_type, body);
    }
    // Only the frame around protobuf has message indexes.
    let body = if body.len() == value.len() { body } else { after_indexes(body)? };
    if body.is_empty() {
        return Err(DecodeError::EmptyValue);
    }
    Message::from_protobuf(event_type, body)
}

fn read_json(event_type: EventType, body: &[u8]) -> Result<Message, DecodeError> {
    if body.is_empty() {
        return Err(DecodeError::EmptyValue);
    }
    let text = std::str::from_utf8(body).map_err(|_| DecodeError::NotUtf8)?;
    Message::from_json(event_type, text)
}

/// The content of a schema registry's frame (magic byte, schema id), or the value itself if it has no frame.
pub(super) fn unframed(value: &[u8]) -> Result<&[u8], DecodeError> {
    if value.first() != Some(&FRAME_MAGIC) {
        return Ok(value);
    }
    value.get(FRAME_BYTES..).ok_or(DecodeError::Frame)
}

/// The bytes after the message indexes (zigzag varints after their count). A single zero means the first message.
fn after_indexes(framed: &[u8]) -> Result<&[u8], DecodeError> {
    let (count, mut rest) = varint(framed)?;
    // Zigzag: an even number n encodes n/2, an odd number encodes a negative count.
    if count % 2 == 1 || count / 2 > FRAME_INDEXES_MAX {
        return Err(DecodeError::Frame);
    }
    for _ in 0..count / 2 {
        (_, rest) = varint(rest)?;
    }
    Ok(rest)
}

/// Reads one base-128 number and returns it with the bytes after it.
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
