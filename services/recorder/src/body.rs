//! Opens a received body as an envelope: it limits decompression and accepts the older single-event form.
//!
//! It guarantees that memory stays within [`Limits::memory_bytes_max`] plus one buffer, even for a decompression bomb or a
//! large attachment. Payloads that are not parsed are never read into memory ([`skim`]). An export of OpenTelemetry is in memory
//! as a whole, and so is the envelope that is made of it. Each has that limit.

mod error;
mod limits;
mod skim;

use std::{
    borrow::Cow,
    io::{self, BufReader, Read},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use crate::{
    journal::{Body, BodyKind, Encoding},
    protocol::{
        envelope::{self, Envelope},
        fields::Fields,
        otlp::{self, OtlpError},
    },
};

pub use error::BodyError;
pub use limits::Limits;
pub use skim::{Place, Skimmed};

use error::undecodable;

/// Limit of zstd's window, as a power of two: 8 MiB, the size that the format recommends every decoder to support.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Largest part of a body that is read into memory before the whole length is known.
pub const SMALL_BYTES: usize = 128 * 1024;
/// Largest single event on `/store/`.
const STORE_BYTES_MAX: usize = 1024 * 1024;
/// Size of brotli's working buffer.
const BROTLI_BUFFER_BYTES: usize = 4096;
/// Size of one read from a decoder.
const READ_BUFFER_BYTES: usize = 32 * 1024;

/// An opened body.
#[derive(Debug)]
pub enum Opened<'a> {
    /// The whole body, decompressed.
    Plain(Cow<'a, [u8]>),
    /// The headers and the items that are parsed.
    Skimmed(Skimmed),
}

impl Opened<'_> {
    /// Returns the number of decompressed bytes, including those that are not in memory.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Plain(plain) => plain.len() as u64,
            Self::Skimmed(skimmed) => skimmed.bytes(),
        }
    }

    /// Parses the envelope and checks the size of each item against the limit of its type.
    pub fn envelope(&self) -> Result<Envelope<'_>, BodyError> {
        let envelope = match self {
            Self::Plain(plain) => Envelope::parse(plain)?,
            Self::Skimmed(skimmed) => skimmed.envelope()?,
        };
        match limits::exceeded(&envelope) {
            Some((item_type, limit)) => Err(BodyError::ItemTooLarge { item_type, limit }),
            None => Ok(envelope),
        }
    }
}

/// Opens a body: a small one completely, of a larger one only the parts that are parsed.
pub fn open(
    kind: BodyKind,
    encoding: Encoding,
    body: &Body,
    limits: Limits,
) -> Result<Opened<'_>, BodyError> {
    if let Some(bytes) = body.memory() {
        match plain(kind, encoding, bytes, SMALL_BYTES.min(limits.envelope_bytes_max)) {
            Err(BodyError::TooLarge { .. }) => {}
            done => return done.map(Opened::Plain),
        }
    }
    match kind {
        BodyKind::Envelope => skim_body(encoding, body, limits).map(Opened::Skimmed),
        BodyKind::Store => {
            let limit = STORE_BYTES_MAX.min(limits.envelope_bytes_max);
            let mut bytes = Vec::new();
            let read = body.reader().take(limit as u64 + 1).read_to_end(&mut bytes).map_err(undecodable)?;
            if read > limit {
                return Err(BodyError::TooLarge { limit });
            }
            let opened = plain(kind, encoding, &bytes, limit)?.into_owned();
            Ok(Opened::Plain(Cow::Owned(opened)))
        }
        BodyKind::OtlpTraces | BodyKind::OtlpTracesJson | BodyKind::OtlpLogs | BodyKind::OtlpLogsJson => {
            let limit = limits.memory_bytes_max.min(limits.envelope_bytes_max);
            let export = decompress_whole(encoding, body, limit)?;
            let envelope = to_envelope(kind, export, limit).map_err(|error| match error {
                BodyError::TooLarge { limit } => BodyError::TooMuchToRead { limit },
                other => other,
            })?;
            Ok(Opened::Plain(Cow::Owned(envelope.into_owned())))
        }
    }
}

/// Decompresses a body that may be in a file.
fn decompress_whole(encoding: Encoding, body: &Body, limit: usize) -> Result<Cow<'_, [u8]>, BodyError> {
    if let Some(bytes) = body.memory() {
        return decompress(encoding, bytes, limit);
    }
    let read = |decoding| bounded(|| decoder(decoding, body.reader()), limit);
    let plain = match read(Decoding::Named(encoding)) {
        Err(BodyError::Encoding(_)) if encoding == Encoding::Deflate => read(Decoding::BareDeflate),
        done => done,
    };
    plain.map(Cow::Owned)
}

fn skim_body(encoding: Encoding, body: &Body, limits: Limits) -> Result<Skimmed, BodyError> {
    let skim = |encoding| {
        let decoder = decoder(encoding, body.reader()).map_err(undecodable)?;
        skim::skim(BufReader::with_capacity(READ_BUFFER_BYTES, decoder), limits)
    };
    match skim(Decoding::Named(encoding)) {
        Err(BodyError::Encoding(_)) if encoding == Encoding::Deflate => skim(Decoding::BareDeflate),
        done => done,
    }
}

/// Decompression of a body.
#[derive(Clone, Copy, Debug)]
enum Decoding {
    Named(Encoding),
    /// RFC 1951 without the zlib header, which some clients send as `deflate`.
    BareDeflate,
}

fn decoder<'a>(decoding: Decoding, body: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match decoding {
        Decoding::BareDeflate => Box::new(DeflateDecoder::new(body)),
        Decoding::Named(Encoding::Identity) => Box::new(body),
        Decoding::Named(Encoding::Gzip) => Box::new(MultiGzDecoder::new(body)),
        Decoding::Named(Encoding::Deflate) => Box::new(ZlibDecoder::new(body)),
        Decoding::Named(Encoding::Brotli) => Box::new(brotli::Decompressor::new(body, BROTLI_BUFFER_BYTES)),
        Decoding::Named(Encoding::Zstd) => {
            let mut decoder = zstd::Decoder::new(body)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
    })
}

/// Returns a reader that decompresses a body.
pub fn decompressing(encoding: Encoding, body: &Body) -> io::Result<Box<dyn Read + '_>> {
    if encoding == Encoding::Deflate {
        let mut first = [0; 1];
        let is_zlib = decoder(Decoding::Named(encoding), body.reader())?.read(&mut first).is_ok();
        return decoder(
            if is_zlib { Decoding::Named(encoding) } else { Decoding::BareDeflate },
            body.reader(),
        );
    }
    decoder(Decoding::Named(encoding), body.reader())
}

/// Returns a reader that decompresses a part of a body that its sender has compressed by itself.
pub fn decompressing_part(encoding: Encoding, part: &[u8]) -> io::Result<Box<dyn Read + '_>> {
    decoder(Decoding::Named(encoding), part)
}

/// Decompresses a body in memory and returns its envelope.
///
/// A [`BodyKind::Store`] event is wrapped in an envelope, as a current SDK would send it, and an export of OpenTelemetry becomes
/// the envelope that Sentry makes of it. The limit is that of the decompressed body and of the envelope.
pub fn plain(
    kind: BodyKind,
    encoding: Encoding,
    body: &[u8],
    limit: usize,
) -> Result<Cow<'_, [u8]>, BodyError> {
    to_envelope(kind, decompress(encoding, body, limit)?, limit)
}

/// Turns a decompressed body of any kind into an envelope.
fn to_envelope(kind: BodyKind, plain: Cow<'_, [u8]>, limit: usize) -> Result<Cow<'_, [u8]>, BodyError> {
    if let Some((signal, format)) = kind.otlp() {
        let envelope = otlp::to_envelope(signal, format, &plain, limit).map_err(|error| match error {
            OtlpError::Malformed(reason) => BodyError::Otlp(reason),
            OtlpError::TooLarge(limit) => BodyError::TooLarge { limit },
        });
        return envelope.map(Cow::Owned);
    }
    if kind == BodyKind::Store { store_to_envelope(&plain, limit).map(Cow::Owned) } else { Ok(plain) }
}

fn decompress(encoding: Encoding, body: &[u8], limit: usize) -> Result<Cow<'_, [u8]>, BodyError> {
    let named = Decoding::Named(encoding);
    let plain = match encoding {
        Encoding::Identity if body.len() <= limit => return Ok(Cow::Borrowed(body)),
        Encoding::Identity => return Err(BodyError::TooLarge { limit }),
        Encoding::Deflate => bounded(|| decoder(named, body), limit).or_else(|error| match error {
            BodyError::Encoding(_) => bounded(|| decoder(Decoding::BareDeflate, body), limit),
            other => Err(other),
        }),
        _ => bounded(|| decoder(named, body), limit),
    };
    plain.map(Cow::Owned)
}

/// Reads to the end or to the limit. A body that is not small is measured first and then read into a buffer of its exact
/// size. The second pass costs less than a growing buffer, and a decompression bomb is never in memory.
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

/// Wraps one event as an envelope. Very old clients send the event in base64, optionally compressed with zlib.
fn store_to_envelope(body: &[u8], limit: usize) -> Result<Vec<u8>, BodyError> {
    let json =
        if body.trim_ascii_start().starts_with(b"{") { Cow::Borrowed(body) } else { legacy(body, limit)? };
    let text = serde_json::from_slice::<&serde_json::value::RawValue>(&json);
    let text = text.map_err(|error| BodyError::Event(error.to_string()))?.get();
    if !text.starts_with('{') {
        return Err(BodyError::Event("not a JSON object".to_owned()));
    }
    let head = Fields::parse(text);
    let event_id = match head.text("event_id") {
        Some(text) => {
            let id = envelope::event_id(&text);
            Some(id.ok_or_else(|| BodyError::Event("event_id is not a UUID".to_owned()))?)
        }
        None => None,
    };
    let transaction = head.text("type").as_deref() == Some("transaction");
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

    #[test]
    fn every_encoding_is_decompressed() {
        for encoding in Encoding::ALL {
            let body = encoded(encoding, TEXT);
            let plain =
                super::plain(BodyKind::Envelope, encoding, &body, TEXT.len()).expect("within the limit");
            assert_eq!(plain.as_ref(), TEXT, "{encoding:?}");
        }
        let mut raw = write::DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(TEXT).expect("memory");
        let raw = raw.finish().expect("memory");
        assert_eq!(
            plain(BodyKind::Envelope, Encoding::Deflate, &raw, 1000).expect("bare deflate").as_ref(),
            TEXT
        );
    }

    #[test]
    fn bomb_is_refused_at_the_limit() {
        let bomb = vec![b'a'; 8 * 1024 * 1024];
        for encoding in Encoding::ALL {
            let body = encoded(encoding, &bomb);
            let refused = plain(BodyKind::Envelope, encoding, &body, 64 * 1024);
            assert!(matches!(refused, Err(BodyError::TooLarge { limit: 65_536 })), "{encoding:?}");
        }
    }

    #[test]
    fn damaged_body_is_an_encoding_error() {
        for encoding in &Encoding::ALL[1..] {
            let garbage = plain(BodyKind::Envelope, *encoding, b"not compressed at all", 1000);
            assert!(matches!(garbage, Err(BodyError::Encoding(_))), "{encoding:?}: {garbage:?}");
            let mut cut = encoded(*encoding, TEXT);
            cut.truncate(cut.len() / 2);
            let cut = plain(BodyKind::Envelope, *encoding, &cut, 1000);
            assert!(matches!(cut, Err(BodyError::Encoding(_))), "{encoding:?}: {cut:?}");
        }
    }

    #[test]
    fn oversized_zstd_window_is_refused() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("memory");
        encoder.window_log(27).expect("a window");
        encoder.include_contentsize(false).expect("an option");
        encoder.write_all(&vec![b'a'; 1024]).expect("memory");
        let body = encoder.finish().expect("memory");
        assert!(plain(BodyKind::Envelope, Encoding::Zstd, &body, 4096).is_err());
    }

    #[test]
    fn export_is_opened_from_memory_and_from_a_file() {
        let export = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"a"}]}]}]}"#;
        for encoding in Encoding::ALL {
            let bytes = encoded(encoding, export);
            let file = tempfile::tempfile().expect("a file");
            (&file).write_all(&bytes).expect("written");
            let blob = crate::journal::Blob { file: file.into(), offset: 0, bytes: bytes.len() as u64 };
            let open = |body: &Body, bytes_max| {
                let limits = Limits { envelope_bytes_max: bytes_max, memory_bytes_max: bytes_max };
                let opened = super::open(BodyKind::OtlpTracesJson, encoding, body, limits)?;
                let envelope = opened.envelope()?;
                assert_eq!(envelope.items[0].item_type(), "span");
                Ok::<_, BodyError>(opened.bytes())
            };
            let (memory, file) = (Body::from(bytes), Body::File(blob));
            let opened = open(&memory, 10_000).expect("an envelope");
            assert_eq!(open(&file, 10_000).expect("an envelope"), opened, "{encoding:?}");
            for body in [&memory, &file] {
                // Without the room for the envelope, and without the room for the export.
                for limit in [export.len() + 1, 10] {
                    let refused = open(body, limit);
                    let refused = refused.expect_err("too large");
                    assert!(refused.is_too_large(), "{encoding:?}: {refused}");
                }
            }
        }
    }

    #[test]
    fn store_event_is_wrapped_in_an_envelope() {
        let event = br#"{"event_id":"9ec79c33ec9942ab8353589fcb2e04dc","message":"x"}"#;
        let expected =
            b"{\"event_id\":\"9ec79c33ec9942ab8353589fcb2e04dc\"}\n{\"type\":\"event\",\"length\":61}\n";
        let base64 = BASE64_STANDARD.encode(event).into_bytes();
        let zlib = BASE64_STANDARD.encode(encoded(Encoding::Deflate, event)).into_bytes();
        for body in [event.to_vec(), base64, zlib] {
            let envelope = super::plain(BodyKind::Store, Encoding::Identity, &body, 1000).expect("an event");
            assert_eq!(envelope.as_ref(), [&expected[..], event, b"\n"].concat());
        }
        for refused in [&b"nonsense"[..], b"", b"{", br#"{"event_id":"x"}"#, b"[]"] {
            assert!(plain(BodyKind::Store, Encoding::Identity, refused, 1000).is_err());
        }
    }
}
