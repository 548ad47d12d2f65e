//! Reads an envelope of any size in bounded memory: it keeps the parsed items and only counts the bytes of the others.

use std::{
    io::{self, BufRead, Read},
    ops::Range,
};

use super::{
    error::{BodyError, undecodable},
    limits::{self, Limits},
};
use crate::protocol::envelope::{Envelope, EnvelopeError, ITEMS_MAX, Item, item_head};

/// Longest header line.
const LINE_BYTES_MAX: usize = 256 * 1024;

/// An envelope without the payloads that are not parsed.
#[derive(Debug, Default)]
pub struct Skimmed {
    text: Vec<u8>,
    header: Range<usize>,
    items: Vec<SkimmedItem>,
    bytes: u64,
}

#[derive(Debug)]
struct SkimmedItem {
    header: Range<usize>,
    payload: Range<usize>,
    omitted: u64,
    place: Place,
}

/// Place of an item in the decompressed body.
#[derive(Clone, Debug)]
pub struct Place {
    /// The header line without its newline.
    pub header: Range<u64>,
    /// The payload.
    pub payload: Range<u64>,
}

impl Skimmed {
    /// Returns the number of decompressed bytes, including skipped ones.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the place of each item.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.items.iter().map(|item| &item.place)
    }

    /// Returns the envelope, which borrows from this buffer.
    pub fn envelope(&self) -> Result<Envelope<'_>, EnvelopeError> {
        let mut envelope = Envelope::of_header(&self.text[self.header.clone()])?;
        for (index, item) in self.items.iter().enumerate() {
            let (header, payload) = (&self.text[item.header.clone()], &self.text[item.payload.clone()]);
            envelope.items.push(Item::from_parts(header, payload, item.omitted, index)?);
        }
        Ok(envelope)
    }
}

/// Reads a decompressed body and skips the payloads that are not parsed.
pub(super) fn skim(reader: impl BufRead, limits: Limits) -> Result<Skimmed, BodyError> {
    let envelope_bytes_max = limits.envelope_bytes_max as u64;
    // One byte more than the limit. If it is read, the body is too large.
    let reader = reader.take(envelope_bytes_max + 1);
    let mut skimming = Skimming { reader, limits, skimmed: Skimmed::default() };
    let read = skimming.run();
    if skimming.reader.limit() == 0 {
        return Err(BodyError::TooLarge { limit: limits.envelope_bytes_max });
    }
    skimming.skimmed.bytes = skimming.position();
    read.map(|()| skimming.skimmed)
}

struct Skimming<R> {
    reader: io::Take<R>,
    limits: Limits,
    skimmed: Skimmed,
}

impl<R: BufRead> Skimming<R> {
    fn run(&mut self) -> Result<(), BodyError> {
        self.skimmed.header = self.line(LINE_BYTES_MAX)?;
        Envelope::of_header(&self.skimmed.text)?;
        let mut sessions = 0;
        while self.skip_newlines()? {
            if self.skimmed.items.len() == ITEMS_MAX {
                return Err(EnvelopeError::TooManyItems.into());
            }
            let index = self.skimmed.items.len();
            let begin = self.position();
            let header = self.line(LINE_BYTES_MAX)?;
            let (_, head) = item_head(&self.skimmed.text[header.clone()], index)?;
            let (item_type, length) = (head.item_type().into_owned(), head.length);
            sessions += usize::from(item_type == "session");
            let rule = limits::rule(&item_type);
            let too_large = BodyError::ItemTooLarge { item_type, limit: rule.bytes_max };
            if sessions > limits::SESSIONS_MAX || length.is_some_and(|length| length > rule.bytes_max) {
                return Err(too_large);
            }
            let payload_begin = self.position();
            let (payload, omitted) = match length {
                Some(length) => self.payload(length, rule.memory_bytes_max, index)?,
                None => self.payload_to_line_end(rule.memory_bytes_max)?,
            };
            if omitted > rule.bytes_max {
                return Err(too_large);
            }
            if omitted > 0 && rule.is_read() {
                return Err(BodyError::TooMuchToRead { limit: self.limits.memory_bytes_max });
            }
            let place = Place {
                header: begin..begin + header.len() as u64,
                payload: payload_begin..payload_begin + omitted.max(payload.len() as u64),
            };
            self.skimmed.items.push(SkimmedItem { header, payload, omitted, place });
        }
        Ok(())
    }

    /// Returns the number of bytes that were read.
    fn position(&self) -> u64 {
        self.limits.envelope_bytes_max as u64 + 1 - self.reader.limit()
    }

    /// Reads a payload of a known length and the newline behind it.
    fn payload(
        &mut self,
        length: u64,
        memory_max: u64,
        index: usize,
    ) -> Result<(Range<usize>, u64), BodyError> {
        let start = self.skimmed.text.len();
        let keep = length <= memory_max;
        if keep {
            self.memory_left(length)?;
        }
        let mut part = (&mut self.reader).take(length);
        let read = if keep {
            part.read_to_end(&mut self.skimmed.text).map(|read| read as u64)
        } else {
            io::copy(&mut part, &mut io::sink())
        };
        let read = read.map_err(undecodable)?;
        if read < length {
            let available = usize::try_from(read).unwrap_or(usize::MAX);
            return Err(EnvelopeError::ItemLength { index, length, available }.into());
        }
        self.item_end(index)?;
        Ok((start..self.skimmed.text.len(), if keep { 0 } else { length }))
    }

    /// Reads a payload without a length, which ends with its line.
    fn payload_to_line_end(&mut self, memory_max: u64) -> Result<(Range<usize>, u64), BodyError> {
        let memory_max = memory_max.min(self.memory_left(0)? as u64);
        let start = self.skimmed.text.len();
        let mut total = 0;
        loop {
            let buffer = self.reader.fill_buf().map_err(undecodable)?;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let piece = &buffer[..end.unwrap_or(buffer.len())];
            total += piece.len() as u64;
            if total <= memory_max {
                self.skimmed.text.extend_from_slice(piece);
            }
            let consumed = piece.len() + usize::from(end.is_some());
            let done = end.is_some() || buffer.is_empty();
            self.reader.consume(consumed);
            if done {
                break;
            }
        }
        if total > memory_max {
            self.skimmed.text.truncate(start);
            return Ok((start..start, total));
        }
        Ok((start..self.skimmed.text.len(), 0))
    }

    /// Returns the number of bytes that may still be read into memory. Fails when fewer than `wanted` are left.
    fn memory_left(&self, wanted: u64) -> Result<usize, BodyError> {
        let left = self.limits.memory_bytes_max.saturating_sub(self.skimmed.text.len());
        if wanted > left as u64 {
            return Err(BodyError::TooMuchToRead { limit: self.limits.memory_bytes_max });
        }
        Ok(left)
    }

    fn item_end(&mut self, index: usize) -> Result<(), BodyError> {
        let mut end = self.byte()?;
        if end == Some(b'\r') {
            end = self.byte()?.or(Some(b'\r'));
        }
        if matches!(end, None | Some(b'\n')) { Ok(()) } else { Err(EnvelopeError::ItemEnd { index }.into()) }
    }

    fn byte(&mut self) -> Result<Option<u8>, BodyError> {
        let byte = self.reader.fill_buf().map_err(undecodable)?.first().copied();
        self.reader.consume(usize::from(byte.is_some()));
        Ok(byte)
    }

    /// Skips newlines. Returns true when something follows.
    fn skip_newlines(&mut self) -> Result<bool, BodyError> {
        loop {
            let buffer = self.reader.fill_buf().map_err(undecodable)?;
            let newlines = buffer.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
            if buffer.is_empty() || newlines < buffer.len() {
                let more = !buffer.is_empty();
                self.reader.consume(newlines);
                return Ok(more);
            }
            self.reader.consume(newlines);
        }
    }

    /// Reads a line into memory, without its newline.
    fn line(&mut self, bytes_max: usize) -> Result<Range<usize>, BodyError> {
        let start = self.skimmed.text.len();
        let bytes_max = bytes_max.min(self.memory_left(0)?);
        let mut line = (&mut self.reader).take(bytes_max as u64 + 1);
        let read = line.read_until(b'\n', &mut self.skimmed.text).map_err(undecodable)?;
        if read > bytes_max {
            return Err(BodyError::TooMuchToRead { limit: bytes_max });
        }
        let ends = self.skimmed.text.last() == Some(&b'\n') && read > 0;
        Ok(start..self.skimmed.text.len() - usize::from(ends))
    }
}
