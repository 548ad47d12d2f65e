//! Size limits of envelopes and their items.
//!
//! The limits of items are those that Sentry documents: develop.sentry.dev, "Envelopes", Size Limits (1 MB for events and
//! transactions, 100 KB for check-ins, 50 MB for profiles, 10 MB for a compressed replay and 100 MB after decompression,
//! 100 sessions per envelope), and docs.sentry.io, "Attachments" (40 MB for a compressed request, 200 MB of attachments).

use crate::protocol::{
    alert_state::ALERT_STATE,
    envelope::{Envelope, Item},
};

const MIB: u64 = 1024 * 1024;
/// Largest number of `session` items in one envelope.
pub(super) const SESSIONS_MAX: usize = 100;
/// Payloads that are never parsed are not read into memory above this size.
const UNPARSED_BYTES_MAX: u64 = 64 * 1024;

/// Size limits of a decompressed envelope.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Limit of the whole envelope.
    pub envelope_bytes_max: usize,
    /// Limit of the part that is read into memory: headers and the items that are parsed.
    pub memory_bytes_max: usize,
}

/// Size limits of one item type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// A longer payload is refused.
    pub(super) bytes_max: u64,
    /// A longer payload is stored, but not read into memory.
    pub(super) memory_bytes_max: u64,
}

impl Rule {
    /// Returns true when the payload is parsed and must therefore fit into memory.
    pub(super) fn is_read(self) -> bool {
        self.memory_bytes_max == self.bytes_max
    }
}

/// Returns the rule of an item type. Only the memory limit of an envelope bounds batches.
pub(super) fn rule(item_type: &str) -> Rule {
    let read = |bytes_max| Rule { bytes_max, memory_bytes_max: bytes_max };
    let unread = |bytes_max| Rule { bytes_max, memory_bytes_max: UNPARSED_BYTES_MAX };
    match item_type {
        "event" | "transaction" | "feedback" | "user_report" | "session" | "sessions" | "client_report" => {
            read(MIB)
        }
        "check_in" => read(100 * 1024),
        "log" | "trace_metric" | "span" => read(u64::MAX),
        // The recorder's own, which an index that is rebuilt has to read.
        ALERT_STATE => read(u64::MAX),
        "profile" => unread(50 * MIB),
        "profile_chunk" => unread(50 * MIB),
        "replay_event" => read(MIB),
        "replay_recording" => unread(10 * MIB),
        "replay_video" => unread(100 * MIB),
        "statsd" | "metric_buckets" | "metric_meta" => unread(MIB),
        _ => unread(200 * MIB),
    }
}

/// Returns the type and the limit of the first item that is too large.
pub(super) fn exceeded(envelope: &Envelope<'_>) -> Option<(String, u64)> {
    let sessions = envelope.items.iter().filter(|item| item.item_type() == "session").count();
    if sessions > SESSIONS_MAX {
        return Some(("session".to_owned(), SESSIONS_MAX as u64));
    }
    let over = |item: &&Item<'_>| item.payload_bytes() > rule(&item.item_type()).bytes_max;
    let item = envelope.items.iter().find(over)?;
    Some((item.item_type().into_owned(), rule(&item.item_type()).bytes_max))
}
