//! What users wrote, newest first, whatever the item type in which an SDK sent it.

use super::{
    attachments::{Attachment, attachments},
    lines::{ListedEnvelope, WriteError, with_envelope},
    read_limit::ReadLimit,
    state::Query,
};
use crate::{
    index::read,
    protocol::{
        digest::Kinds,
        envelope::Item,
        event::{ErrorEvent, LABEL_BYTES_MAX},
        fields::Fields,
    },
};

/// Item types with feedback. The digest marks an event that is feedback with the first of them.
const TYPES: [&str; 2] = ["feedback", "user_report"];
/// Number of entries that are shown.
const ENTRIES_MAX: usize = 100;
/// Longest text that is shown. The raw envelope has all of it.
const TEXT_BYTES_MAX: usize = 4 * 1024;
/// Number of rows that are fetched from the index at a time.
const ROWS: u32 = 200;

/// One entry.
#[derive(Debug)]
pub(crate) struct Feedback {
    pub(crate) seq: u64,
    pub(crate) project: String,
    pub(crate) received_at: f64,
    pub(crate) message: String,
    pub(crate) name: String,
    pub(crate) url: String,
    /// Event that the entry is about.
    pub(crate) event_id: String,
    pub(crate) trace_id: String,
    /// Files that were sent with it, such as a screenshot.
    pub(crate) attachments: Vec<Attachment>,
}

/// The newest entries.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    pub(crate) entries: Vec<Feedback>,
    /// True when there are older ones.
    pub(crate) truncated: bool,
}

/// Returns the newest entries of a project, or of all.
pub(crate) fn recent(query: &Query, project: Option<u32>) -> Result<Recent, WriteError> {
    let (mut found, mut limit, mut upto) = (Recent::default(), ReadLimit::default(), u64::MAX);
    let mut reader = query.journal.reader();
    loop {
        let kinds = Kinds::any_of(&TYPES);
        let rows = query
            .index
            .read(|connection| read::envelopes_down_from(connection, upto, project, kinds, ROWS))?;
        let Some(last) = rows.last().map(|row| row.seq) else { return Ok(found) };
        for row in rows {
            if found.entries.len() >= ENTRIES_MAX || limit.is_reached() {
                found.truncated = true;
                return Ok(found);
            }
            with_envelope(query, &mut reader, row, |opened| {
                limit.count(&opened);
                // One more than there is room for shows that there are older ones.
                let room = ENTRIES_MAX + 1 - found.entries.len();
                let read = opened.envelope.items.iter().filter_map(|item| read_item(&opened, item));
                found.entries.extend(read.take(room));
                Ok(())
            })?;
            if found.entries.len() > ENTRIES_MAX {
                found.entries.truncate(ENTRIES_MAX);
                found.truncated = true;
                return Ok(found);
            }
        }
        let Some(next) = last.checked_sub(1) else { return Ok(found) };
        upto = next;
    }
}

fn read_item(opened: &ListedEnvelope<'_>, item: &Item<'_>) -> Option<Feedback> {
    let json = item.json()?;
    let item_type = item.item_type();
    let is_report = item_type == "user_report";
    match item_type.as_ref() {
        "user_report" | "feedback" => {}
        "event" if ErrorEvent::parse(json).is_feedback() => {}
        _ => return None,
    }
    let fields = Fields::parse(json);
    let contexts = fields.object("contexts");
    // The older form has its members at the top.
    let (feedback, message, event) = match is_report {
        true => (fields, "comments", "event_id"),
        false => (contexts.object("feedback"), "message", "associated_event_id"),
    };
    let short = |name: &str, bytes_max| feedback.short(name, bytes_max).unwrap_or_default();
    Some(Feedback {
        seq: opened.source.seq,
        project: opened.source.name.to_owned(),
        received_at: opened.source.received_at,
        message: short(message, TEXT_BYTES_MAX),
        name: short("name", LABEL_BYTES_MAX),
        url: short("url", TEXT_BYTES_MAX),
        event_id: short(event, LABEL_BYTES_MAX),
        trace_id: contexts.object("trace").short("trace_id", LABEL_BYTES_MAX).unwrap_or_default(),
        attachments: attachments(opened.envelope),
    })
}
