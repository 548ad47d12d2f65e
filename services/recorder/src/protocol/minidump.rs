//! Finds the minidumps in envelopes.

use super::{
    envelope::{Envelope, Item},
    fields::Fields,
};

/// Type of an attachment that is a minidump.
const MINIDUMP_ATTACHMENT: &str = "event.minidump";

/// Returns true for an envelope with a minidump. Its event is unfinished: it counts in the envelope that the recorder makes of it.
#[must_use]
pub fn has_minidump(envelope: &Envelope<'_>) -> bool {
    envelope.items.iter().any(is_minidump)
}

/// Returns true for an attachment that is a minidump.
#[must_use]
pub fn is_minidump(item: &Item<'_>) -> bool {
    // Almost no item is one, and this test is cheap
    item.headers_raw.contains(MINIDUMP_ATTACHMENT)
        && item.item_type() == "attachment"
        && Fields::parse(item.headers_raw).text("attachment_type").as_deref() == Some(MINIDUMP_ATTACHMENT)
}
