//! Limits the bytes that one response reads from the journal, including those that it skips.

use super::lines::ListedEnvelope;

/// Limit of the payload bytes that are parsed for one response.
const PARSED_BYTES_MAX: u64 = 96 * 1024 * 1024;
/// Limit of the bytes that are decompressed for it, including skipped attachments: two or three of the largest envelopes.
const DECOMPRESSED_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Bytes that one response has read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReadLimit {
    parsed_bytes: u64,
    decompressed_bytes: u64,
}

impl ReadLimit {
    /// Returns true when the response must not read a further envelope.
    pub(super) fn is_reached(&self) -> bool {
        self.parsed_bytes >= PARSED_BYTES_MAX || self.decompressed_bytes >= DECOMPRESSED_BYTES_MAX
    }

    /// Counts an envelope that was read.
    pub(super) fn count(&mut self, opened: &ListedEnvelope<'_>) {
        let payloads = opened.envelope.items.iter().map(|item| item.payload.len() as u64);
        self.parsed_bytes += payloads.sum::<u64>();
        self.decompressed_bytes += opened.bytes;
    }
}
