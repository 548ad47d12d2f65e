//! Writes an envelope of batch items, entry by entry, within a limit of bytes.

use std::io::{self, Write};

use serde::Serialize;

use super::{OtlpError, Signal};

/// Largest number of entries of one item, as in Sentry.
const ENTRIES_MAX: usize = 1_000;
/// Room for the header line of an item and the frame of its entries.
const ITEM_HEAD_BYTES_MAX: usize = 256;

/// An envelope that grows.
#[derive(Debug)]
pub(super) struct Batches {
    signal: Signal,
    bytes_max: usize,
    envelope: Vec<u8>,
    /// Entries of the item that is not in the envelope yet.
    entries: Vec<u8>,
    count: usize,
}

impl Batches {
    pub(super) fn new(signal: Signal, bytes_max: usize) -> Self {
        Self { signal, bytes_max, envelope: b"{}\n".to_vec(), entries: Vec::new(), count: 0 }
    }

    /// Adds a span or a log.
    pub(super) fn push(&mut self, entry: &impl Serialize) -> Result<(), OtlpError> {
        if self.count == ENTRIES_MAX {
            self.end_item();
        }
        if self.count > 0 {
            self.entries.push(b',');
        }
        let taken = self.envelope.len() + ITEM_HEAD_BYTES_MAX;
        let out = Bounded { bytes: &mut self.entries, bytes_max: self.bytes_max.saturating_sub(taken) };
        serde_json::to_writer(out, entry).map_err(|_| OtlpError::TooLarge(self.bytes_max))?;
        self.count += 1;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.end_item();
        self.envelope
    }

    fn end_item(&mut self) {
        const BEGIN: &[u8] = b"{\"items\":[";
        const END: &[u8] = b"]}";
        if self.count == 0 {
            return;
        }
        let (item_type, content_type) = match self.signal {
            Signal::Traces => ("span", "application/vnd.sentry.items.span.v2+json"),
            Signal::Logs => ("log", "application/vnd.sentry.items.log+json"),
        };
        let (count, length) = (self.count, BEGIN.len() + self.entries.len() + END.len());
        let header = format!(
            "{{\"type\":\"{item_type}\",\"item_count\":{count},\"content_type\":\"{content_type}\",\"length\":{length}}}\n"
        );
        for piece in [header.as_bytes(), BEGIN, &self.entries, END, b"\n"] {
            self.envelope.extend_from_slice(piece);
        }
        self.entries.clear();
        self.count = 0;
    }
}

struct Bounded<'a> {
    bytes: &'a mut Vec<u8>,
    bytes_max: usize,
}

impl Write for Bounded<'_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + piece.len() > self.bytes_max {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.bytes.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
