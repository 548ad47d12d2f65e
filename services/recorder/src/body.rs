//! From the bytes as they came to an envelope: decompression with a limit, and the older single-event form.
//!
//! Promise: what comes out is never larger than the limit, and never costs more memory than the limit and one buffer,
//! whatever a bomb announces.

use std::{
    borrow::Cow,
    io::{self, Read},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    journal::{BodyKind, Encoding},
    protocol::envelope,
};

/// zstd's window, as a power of two: 8 MiB, what the format tells every decoder to support.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// What is read into memory before its whole length is known.
const SMALL_BYTES: usize = 128 * 1024;
/// brotli's working buffer.
const BROTLI_BUFFER_BYTES: usize = 4096;

/// Why a body cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is larger than the limit once decompressed.
    #[error("larger than {limit} bytes when decompressed")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// It is not what its encoding says.
    #[error("failed to decode the body: {0}")]
    Encoding(String),
    /// It is not an event, as `/store/` wants one.
    #[error("not an event: {0}")]
    Event(String),
}

/// The envelope in a body, as the sender wrote it (for [`BodyKind::Store`]: as a sender of today would have written it).
///
/// # Errors
/// When the body is too large or not what it says.
pub fn open(
    kind: BodyKind,
    encoding: Encoding,
    body: &[u8],
    limit: usize,
) -> Result<Cow<'_, [u8]>, BodyError> {
    let plain = decompress(encoding, body, limit)?;
    match kind {
        BodyKind::Envelope => Ok(plain),
        BodyKind::Store => store_to_envelope(&plain, limit).map(Cow::Owned),
    }
}

fn decompress(encoding: Encoding, body: &[u8], limit: usize) -> Result<Cow<'_, [u8]>, BodyError> {
    let plain = match encoding {
        Encoding::Identity if body.len() <= limit => return Ok(Cow::Borrowed(body)),
        Encoding::Identity => return Err(BodyError::TooLarge { limit }),
        Encoding::Gzip => bounded(|| Ok(MultiGzDecoder::new(body)), limit),
        Encoding::Deflate => bounded(|| Ok(ZlibDecoder::new(body)), limit).or_else(|error| match error {
            BodyError::Encoding(_) => bounded(|| Ok(DeflateDecoder::new(body)), limit),
            other => Err(other),
        }),
        Encoding::Brotli => bounded(|| Ok(brotli::Decompressor::new(body, BROTLI_BUFFER_BYTES)), limit),
        Encoding::Zstd => bounded(
            || {
                let mut decoder = zstd::Decoder::with_buffer(body)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Ok(decoder)
            },
            limit,
        ),
    };
    plain.map(Cow::Owned)
}

/// Reads to the end, or to the limit. What is not small is measured first and then read into exactly as much memory as it
/// needs: the second pass is cheaper than a buffer that doubles, and a bomb is never in memory.
fn bounded<R: Read>(decoder: impl Fn() -> io::Result<R>, limit: usize) -> Result<Vec<u8>, BodyError> {
    let read = |plain: &mut Vec<u8>, most: usize| -> Result<usize, BodyError> {
        decoder().and_then(|reader| reader.take(most as u64 + 1).read_to_end(plain)).map_err(undecodable)
    };
    let mut plain = Vec::new();
    let small = limit.min(SMALL_BYTES);
    if read(&mut plain, small)? <= small {
        return Ok(plain);
    }
    drop(plain);
    let measured = decoder().and_then(|reader| io::copy(&mut reader.take(limit as u64 + 1), &mut io::sink()));
    let length = usize::try_from(measured.map_err(undecodable)?).unwrap_or(usize::MAX);
    if length > limit {
        return Err(BodyError::TooLarge { limit });
    }
    let mut plain = Vec::with_capacity(length + 1);
    read(&mut plain, length)?;
    Ok(plain)
}

fn undecodable(error: io::Error) -> BodyError {
    BodyError::Encoding(error.to_string())
}

#[derive(Deserialize)]
struct EventHead<'a> {
    #[serde(borrow, default)]
    event_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "type")]
    item_type: Option<&'a RawValue>,
}

/// Wraps one event as an envelope. Clients of long ago send it in base64, and compressed under it.
fn store_to_envelope(body: &[u8], limit: usize) -> Result<Vec<u8>, BodyError> {
    let json =
        if body.trim_ascii_start().starts_with(b"{") { Cow::Borrowed(body) } else { legacy(body, limit)? };
    let head: EventHead<'_> =
        serde_json::from_slice(&json).map_err(|error| BodyError::Event(error.to_string()))?;
    let event_id = match head.event_id.as_deref() {
        Some(text) => {
            let id = envelope::event_id(text);
            Some(id.ok_or_else(|| BodyError::Event("event_id is not a UUID".to_owned()))?)
        }
        None => None,
    };
    let transaction = head.item_type.is_some_and(|kind| kind.get() == "\"transaction\"");
    let header = event_id.map_or_else(|| "{}".to_owned(), |id| format!("{{\"event_id\":\"{id}\"}}"));
    let item_type = if transaction { "transaction" } else { "event" };
    let mut envelope =
        format!("{header}\n{{\"type\":\"{item_type}\",\"length\":{}}}\n", json.len()).into_bytes();
    envelope.extend_from_slice(&json);
    envelope.push(b'\n');
    Ok(envelope)
}

fn legacy(body: &[u8], limit: usize) -> Result<Cow<'static, [u8]>, BodyError> {
    let bytes =
        BASE64_STANDARD.decode(body.trim_ascii()).map_err(|error| BodyError::Event(error.to_string()))?;
    if bytes.starts_with(b"{") {
        Ok(Cow::Owned(bytes))
    } else {
        bounded(|| Ok(ZlibDecoder::new(&bytes[..])), limit).map(Cow::Owned)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write};

    use super::*;

    const TEXT: &[u8] = b"{}\n{\"type\":\"x\"}\nsome payload, some payload, some payload\n";

    fn encoded(encoding: Encoding, plain: &[u8]) -> Vec<u8> {
        match encoding {
            Encoding::Identity => plain.to_vec(),
            Encoding::Gzip => {
                let mut gzip = write::GzEncoder::new(Vec::new(), Compression::default());
                gzip.write_all(plain).expect("memory");
                gzip.finish().expect("memory")
            }
            Encoding::Deflate => {
                let mut zlib = write::ZlibEncoder::new(Vec::new(), Compression::default());
                zlib.write_all(plain).expect("memory");
                zlib.finish().expect("memory")
            }
            Encoding::Brotli => {
                let mut out = Vec::new();
                brotli::CompressorWriter::new(&mut out, 4096, 5, 22).write_all(plain).expect("memory");
                out
            }
            Encoding::Zstd => zstd::encode_all(plain, 3).expect("memory"),
        }
    }

    const ALL: [Encoding; 5] =
        [Encoding::Identity, Encoding::Gzip, Encoding::Deflate, Encoding::Brotli, Encoding::Zstd];

    #[test]
    fn every_encoding_comes_back() {
        for encoding in ALL {
            let body = encoded(encoding, TEXT);
            let plain = open(BodyKind::Envelope, encoding, &body, TEXT.len()).expect("within the limit");
            assert_eq!(plain.as_ref(), TEXT, "{encoding:?}");
        }
        let mut raw = write::DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(TEXT).expect("memory");
        let raw = raw.finish().expect("memory");
        assert_eq!(
            open(BodyKind::Envelope, Encoding::Deflate, &raw, 1000).expect("bare deflate").as_ref(),
            TEXT
        );
    }

    #[test]
    fn bombs_are_stopped_at_the_limit() {
        let bomb = vec![b'a'; 8 * 1024 * 1024];
        for encoding in ALL {
            let body = encoded(encoding, &bomb);
            let refused = open(BodyKind::Envelope, encoding, &body, 64 * 1024);
            assert!(matches!(refused, Err(BodyError::TooLarge { limit: 65_536 })), "{encoding:?}");
        }
    }

    #[test]
    fn garbage_is_named_and_the_cut_short_too() {
        for encoding in &ALL[1..] {
            let garbage = open(BodyKind::Envelope, *encoding, b"not compressed at all", 1000);
            assert!(matches!(garbage, Err(BodyError::Encoding(_))), "{encoding:?}: {garbage:?}");
            let mut cut = encoded(*encoding, TEXT);
            cut.truncate(cut.len() / 2);
            let cut = open(BodyKind::Envelope, *encoding, &cut, 1000);
            assert!(matches!(cut, Err(BodyError::Encoding(_))), "{encoding:?}: {cut:?}");
        }
    }

    #[test]
    fn a_zstd_window_larger_than_the_format_asks_for_is_refused() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("memory");
        encoder.window_log(27).expect("a window");
        encoder.include_contentsize(false).expect("an option");
        encoder.write_all(&vec![b'a'; 1024]).expect("memory");
        let body = encoder.finish().expect("memory");
        assert!(open(BodyKind::Envelope, Encoding::Zstd, &body, 4096).is_err());
    }

    #[test]
    fn a_single_event_becomes_an_envelope() {
        let event = br#"{"event_id":"9ec79c33ec9942ab8353589fcb2e04dc","message":"x"}"#;
        let expected =
            b"{\"event_id\":\"9ec79c33ec9942ab8353589fcb2e04dc\"}\n{\"type\":\"event\",\"length\":61}\n";
        let base64 = BASE64_STANDARD.encode(event).into_bytes();
        let zlib = BASE64_STANDARD.encode(encoded(Encoding::Deflate, event)).into_bytes();
        for body in [event.to_vec(), base64, zlib] {
            let envelope = open(BodyKind::Store, Encoding::Identity, &body, 1000).expect("an event");
            assert_eq!(envelope.as_ref(), [&expected[..], event, b"\n"].concat());
        }
        for refused in [&b"nonsense"[..], b"", b"{", br#"{"event_id":"x"}"#, b"[]"] {
            assert!(open(BodyKind::Store, Encoding::Identity, refused, 1000).is_err());
        }
    }
}
