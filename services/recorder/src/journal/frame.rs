//! One kept envelope on disk: length, checksum, then the record.
//!
//! ```text
//! u32 length of what follows the checksum · u32 CRC-32 of it
//! u64 seq · u64 received_at_us · u32 project · u8 kind · u8 encoding · u16 zero · the body as it came
//! ```
//! All numbers are little-endian.

use flate2::Crc;

/// Length and checksum.
pub(super) const HEAD_BYTES: usize = 8;
/// What precedes the body inside the record.
const FIXED_BYTES: usize = 24;
/// A longer record is not one of ours; it bounds what a damaged length can make us read.
pub(super) const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum BodyKind {
    /// An envelope.
    Envelope = 0,
    /// One event as the older `/store/` endpoint takes it.
    Store = 1,
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Encoding {
    /// Not at all.
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
    /// As HTTP names it.
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

/// A record to be written, or as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) seq: u64,
    pub(super) received_at_us: u64,
    pub(super) project: u32,
    pub(super) kind: BodyKind,
    pub(super) encoding: Encoding,
    pub(super) body: &'a [u8],
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    /// The length is none that we would write.
    #[error("a record of {0} bytes")]
    Length(u64),
    /// The bytes are not those that were written.
    #[error("the checksum does not match")]
    Checksum,
    /// The checksum matches, and yet the content is not ours: written by a newer version.
    #[error("unknown kind or encoding")]
    Unknown,
}

/// Appends the record to `out`; returns how many bytes it takes.
pub(super) fn encode(record: &Record<'_>, out: &mut Vec<u8>) -> usize {
    let begin = out.len();
    let length = FIXED_BYTES + record.body.len();
    debug_assert!(length <= RECORD_BYTES_MAX, "the body limit is below the record limit");
    out.reserve(HEAD_BYTES + length);
    out.extend_from_slice(&(u32::try_from(length).unwrap_or(u32::MAX)).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&record.seq.to_le_bytes());
    out.extend_from_slice(&record.received_at_us.to_le_bytes());
    out.extend_from_slice(&record.project.to_le_bytes());
    out.extend_from_slice(&[record.kind as u8, record.encoding as u8, 0, 0]);
    out.extend_from_slice(record.body);
    let crc = checksum(&out[begin + HEAD_BYTES..]);
    out[begin + 4..begin + HEAD_BYTES].copy_from_slice(&crc.to_le_bytes());
    out.len() - begin
}

/// The record's length that a head announces.
pub(super) fn record_length(head: [u8; HEAD_BYTES]) -> Result<usize, FrameError> {
    let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
    if (FIXED_BYTES..=RECORD_BYTES_MAX).contains(&length) {
        Ok(length)
    } else {
        Err(FrameError::Length(length as u64))
    }
}

/// Reads the record that belongs to a head.
pub(super) fn decode(head: [u8; HEAD_BYTES], record: &[u8]) -> Result<Record<'_>, FrameError> {
    if checksum(record).to_le_bytes() != head[4..] {
        return Err(FrameError::Checksum);
    }
    let length = FrameError::Length(record.len() as u64);
    let (fixed, body) = record.split_first_chunk::<FIXED_BYTES>().ok_or(length)?;
    let kind = match fixed[20] {
        0 => BodyKind::Envelope,
        1 => BodyKind::Store,
        _ => return Err(FrameError::Unknown),
    };
    let encoding = match fixed[21] {
        0 => Encoding::Identity,
        1 => Encoding::Gzip,
        2 => Encoding::Deflate,
        3 => Encoding::Brotli,
        4 => Encoding::Zstd,
        _ => return Err(FrameError::Unknown),
    };
    Ok(Record {
        seq: number(&fixed[..8]),
        received_at_us: number(&fixed[8..16]),
        project: u32::try_from(number(&fixed[16..20])).unwrap_or(u32::MAX),
        kind,
        encoding,
        body,
    })
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_every_flipped_bit_is_seen() {
        let record = Record {
            seq: 7,
            received_at_us: 1_700_000_000_000_001,
            project: 4,
            kind: BodyKind::Store,
            encoding: Encoding::Zstd,
            body: b"any bytes \x00\xff",
        };
        let mut bytes = Vec::new();
        assert_eq!(encode(&record, &mut bytes), bytes.len());
        let head: [u8; HEAD_BYTES] = bytes[..HEAD_BYTES].try_into().expect("a head");
        assert_eq!(record_length(head).expect("a length"), bytes.len() - HEAD_BYTES);
        assert_eq!(decode(head, &bytes[HEAD_BYTES..]).expect("a record"), record);
        for bit in 0..(bytes.len() - HEAD_BYTES) * 8 {
            let mut damaged = bytes[HEAD_BYTES..].to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(head, &damaged), Err(FrameError::Checksum), "bit {bit}");
        }
    }
}
