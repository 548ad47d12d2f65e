//! Frame of one stored envelope on disk: marker, length, checksum, record.
//!
//! ```text
//! [u8; 8] the segment's marker · u32 length of the record · u32 CRC-32 of the record
//! u64 seq · u64 received_at_us · u32 project · u8 kind · u8 encoding · u16 zero · the body as received
//! ```
//! All numbers are little-endian. Each segment has its own random marker, by which a scan finds the next record behind a
//! damaged one, and which a sender cannot put into a body. Segments of the first layout have no marker.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
};

use flate2::Crc;

use super::body::Body;
use crate::protocol::otlp::{Format, Signal};

/// Length of a marker.
pub(super) const MARKER_BYTES: usize = 8;
/// Size of the length and checksum fields.
const LENGTHS_BYTES: usize = 8;
/// Length of the record's fields before the body.
pub(super) const FIXED_BYTES: usize = 24;
/// Longest valid record. It limits how much a damaged length can make the recorder read.
pub(super) const RECORD_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Size of the pieces in which a body is copied or checked.
const CHUNK_BYTES: usize = 64 * 1024;

/// Form of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum BodyKind {
    /// An envelope.
    Envelope = 0,
    /// One event from the older `/store/` endpoint.
    Store = 1,
    /// Spans of OpenTelemetry in protobuf.
    OtlpTraces = 2,
    /// Spans of OpenTelemetry in JSON.
    OtlpTracesJson = 3,
    /// Logs of OpenTelemetry in protobuf.
    OtlpLogs = 4,
    /// Logs of OpenTelemetry in JSON.
    OtlpLogsJson = 5,
}

impl BodyKind {
    /// All kinds, each at the position of its number.
    pub const ALL: [Self; 6] = [
        Self::Envelope,
        Self::Store,
        Self::OtlpTraces,
        Self::OtlpTracesJson,
        Self::OtlpLogs,
        Self::OtlpLogsJson,
    ];

    /// Returns signal and format of an export of OpenTelemetry.
    #[must_use]
    pub fn otlp(self) -> Option<(Signal, Format)> {
        match self {
            Self::Envelope | Self::Store => None,
            Self::OtlpTraces => Some((Signal::Traces, Format::Protobuf)),
            Self::OtlpTracesJson => Some((Signal::Traces, Format::Json)),
            Self::OtlpLogs => Some((Signal::Logs, Format::Protobuf)),
            Self::OtlpLogsJson => Some((Signal::Logs, Format::Json)),
        }
    }
}

/// Compression of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Encoding {
    /// No compression.
    Identity = 0,
    /// RFC 1952.
    Gzip = 1,
    /// RFC 1950, or the bare RFC 1951 that some clients send under this name.
    Deflate = 2,
    /// RFC 7932.
    Brotli = 3,
    /// RFC 8878.
    Zstd = 4,
}

impl Encoding {
    /// All encodings, each at the position of its number.
    pub const ALL: [Self; 5] = [Self::Identity, Self::Gzip, Self::Deflate, Self::Brotli, Self::Zstd];

    /// Returns the encoding's name in HTTP headers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

/// Fields of a record before its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) seq: u64,
    pub(super) received_at_us: u64,
    pub(super) project: u32,
    pub(super) kind: BodyKind,
    pub(super) encoding: Encoding,
}

/// Error when bytes are not a valid record.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// The bytes are not an intact record.
    #[error("the bytes are not a record: {0}")]
    Damaged(&'static str),
    /// The checksum matches, but the kind or encoding is unknown. A newer version wrote the record.
    #[error("the record has an unknown kind or encoding; a newer version of the recorder wrote it")]
    Unknown,
    /// The file could not be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Layout of the frames in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) marker: Option<[u8; MARKER_BYTES]>,
}

/// An intact record in a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) meta: Meta,
    /// Offset of the frame.
    pub(super) offset: u64,
    /// Length of the frame, including its head.
    pub(super) bytes: u64,
    pub(super) body_offset: u64,
    pub(super) body_bytes: u64,
}

impl Layout {
    fn head_bytes(self) -> usize {
        self.marker.map_or(0, |marker| marker.len()) + LENGTHS_BYTES
    }

    /// Returns the length of the shortest frame.
    pub(super) fn frame_bytes_min(self) -> u64 {
        (self.head_bytes() + FIXED_BYTES) as u64
    }

    fn head(self, length: u32, crc: u32) -> Vec<u8> {
        let mut head = self.marker.map(Vec::from).unwrap_or_default();
        head.extend_from_slice(&length.to_le_bytes());
        head.extend_from_slice(&crc.to_le_bytes());
        head
    }

    /// Appends a record to `out`. Returns its length.
    pub(super) fn encode(self, meta: Meta, body: &[u8], out: &mut Vec<u8>) -> usize {
        let fixed = meta.encode();
        let mut crc = Crc::new();
        crc.update(&fixed);
        crc.update(body);
        let begin = out.len();
        out.extend_from_slice(&self.head(record_length(body.len() as u64), crc.sum()));
        out.extend_from_slice(&fixed);
        out.extend_from_slice(body);
        out.len() - begin
    }

    /// Writes a record whose body is not in memory. Returns its length. The head is written last, so that an incomplete
    /// record is not valid.
    pub(super) fn write(self, meta: Meta, body: &Body, file: &File, offset: u64) -> io::Result<u64> {
        let fixed = meta.encode();
        let mut crc = Crc::new();
        crc.update(&fixed);
        let begin = offset + self.head_bytes() as u64;
        file.write_all_at(&fixed, begin)?;
        let mut at = begin + fixed.len() as u64;
        let mut reader = body.reader();
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = reader.read(&mut chunk)?;
            if read == 0 {
                break;
            }
            crc.update(&chunk[..read]);
            file.write_all_at(&chunk[..read], at)?;
            at += read as u64;
        }
        file.write_all_at(&self.head(record_length(body.bytes()), crc.sum()), offset)?;
        Ok(at - offset)
    }

    /// Returns the record at an offset in a file of this length, after a check of all its bytes.
    pub(super) fn check(self, file: &File, offset: u64, file_bytes: u64) -> Result<Frame, FrameError> {
        let head_bytes = self.head_bytes();
        let left = file_bytes.saturating_sub(offset);
        if left < self.frame_bytes_min() {
            return Err(FrameError::Damaged("cut short"));
        }
        let mut begin = [0; MARKER_BYTES + LENGTHS_BYTES + FIXED_BYTES];
        let begin = &mut begin[..head_bytes + FIXED_BYTES];
        file.read_exact_at(begin, offset)?;
        let (head, fixed) = begin.split_at(head_bytes);
        let (marker, lengths) = head.split_at(head_bytes - LENGTHS_BYTES);
        if self.marker.is_some_and(|own| own != marker) {
            return Err(FrameError::Damaged("no marker"));
        }
        let (length, crc) = (number(&lengths[..4]), number(&lengths[4..]));
        let whole = head_bytes as u64 + length;
        if length < FIXED_BYTES as u64 || length > RECORD_BYTES_MAX as u64 || whole > left {
            return Err(FrameError::Damaged("a wrong length"));
        }
        let body_offset = offset + (head_bytes + FIXED_BYTES) as u64;
        let body_bytes = length - FIXED_BYTES as u64;
        if checksum(fixed, file, body_offset, body_bytes)? != crc {
            return Err(FrameError::Damaged("the checksum does not match"));
        }
        let meta = Meta::decode(fixed).ok_or(FrameError::Unknown)?;
        Ok(Frame { meta, offset, bytes: whole, body_offset, body_bytes })
    }
}

impl Meta {
    fn encode(&self) -> [u8; FIXED_BYTES] {
        let mut fixed = [0; FIXED_BYTES];
        fixed[..8].copy_from_slice(&self.seq.to_le_bytes());
        fixed[8..16].copy_from_slice(&self.received_at_us.to_le_bytes());
        fixed[16..20].copy_from_slice(&self.project.to_le_bytes());
        fixed[20] = self.kind as u8;
        fixed[21] = self.encoding as u8;
        fixed
    }

    fn decode(fixed: &[u8]) -> Option<Self> {
        let kind = *BodyKind::ALL.get(usize::from(fixed[20]))?;
        let encoding = *Encoding::ALL.get(usize::from(fixed[21]))?;
        let project = u32::try_from(number(&fixed[16..20])).ok()?;
        Some(Self {
            seq: number(&fixed[..8]),
            received_at_us: number(&fixed[8..16]),
            project,
            kind,
            encoding,
        })
    }
}

/// Returns the length of a record with such a body. The limits of bodies are far below `u32::MAX`.
fn record_length(body_bytes: u64) -> u32 {
    u32::try_from(FIXED_BYTES as u64 + body_bytes).unwrap_or(u32::MAX)
}

/// Computes the checksum of a record piece by piece.
fn checksum(fixed: &[u8], file: &File, mut at: u64, bytes: u64) -> io::Result<u64> {
    let mut crc = Crc::new();
    crc.update(fixed);
    let end = at + bytes;
    let size = usize::try_from(bytes).unwrap_or(usize::MAX).min(CHUNK_BYTES);
    let mut chunk = vec![0; size];
    while at < end {
        let piece = usize::try_from(end - at).unwrap_or(usize::MAX).min(size);
        file.read_exact_at(&mut chunk[..piece], at)?;
        crc.update(&chunk[..piece]);
        at += piece as u64;
    }
    Ok(u64::from(crc.sum()))
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const META: Meta = Meta {
        seq: 7,
        received_at_us: 1_700_000_000_000_001,
        project: 4,
        kind: BodyKind::Store,
        encoding: Encoding::Zstd,
    };

    #[test]
    fn kinds_and_encodings_are_at_their_numbers() {
        for (number, kind) in BodyKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
            let meta = Meta { kind, ..META };
            assert_eq!(Meta::decode(&meta.encode()), Some(meta));
        }
        assert!(Encoding::ALL.into_iter().enumerate().all(|(number, encoding)| encoding as usize == number));
    }

    #[test]
    fn every_flipped_bit_is_detected() {
        let body = b"any bytes \x00\xff";
        for layout in [Layout { marker: None }, Layout { marker: Some(*b"a marker") }] {
            let mut bytes = Vec::new();
            assert_eq!(layout.encode(META, body, &mut bytes), bytes.len());
            let file = tempfile::tempfile().expect("a file");
            let length = layout.write(META, &Body::from(&body[..]), &file, 0).expect("written");
            assert_eq!(length, bytes.len() as u64);
            let mut written = vec![0; bytes.len()];
            file.read_exact_at(&mut written, 0).expect("read");
            assert_eq!(written, bytes, "both ways to write are one form");
            let frame = layout.check(&file, 0, length).expect("a record");
            assert_eq!((frame.meta, frame.bytes, frame.body_bytes), (META, length, body.len() as u64));
            for bit in 0..bytes.len() * 8 {
                let mut damaged = bytes.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                file.write_all_at(&damaged, 0).expect("written");
                assert!(matches!(layout.check(&file, 0, length), Err(FrameError::Damaged(_))), "bit {bit}");
            }
            assert!(layout.check(&file, 0, length - 1).is_err());
        }
    }
}
