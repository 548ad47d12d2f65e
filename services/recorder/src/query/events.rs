//! Query for error events with their stacks. The bytes that were sent are in `/api/v1/envelopes`.

use axum::{extract::State, response::Response};
use chassis::problem::Problem;
use serde::Serialize;

use super::{
    lines::{ListedEnvelope, NDJSON, each_envelope, stream, write_line},
    params::UrlQuery,
    shown_stack::ShownStack,
    state::{ListParams, Query, page},
};
use crate::{
    protocol::{
        assembly::trace_error, digest::Kinds, envelope::Item, event::ErrorEvent, minidump::has_minidump,
        trace::TraceError,
    },
    symbols::stack,
};

/// Item type of an error.
const EVENT: &str = "event";

/// One event in a listing.
#[derive(Debug, Serialize)]
struct Listed {
    #[serde(flatten)]
    error: TraceError,
    trace_id: Option<String>,
    /// The main stack. Absent without frames.
    #[serde(skip_serializing_if = "Option::is_none")]
    stack: Option<ShownStack>,
}

/// `GET /api/v1/events?since=&project=&limit=`: error events in the order of their receipt, with their stacks.
///
/// A limit never cuts inside an envelope, so that `since` can continue behind it.
pub(super) async fn list(
    State(query): State<Query>,
    UrlQuery(params): UrlQuery<ListParams>,
) -> Result<Response, Problem> {
    let page = page(&query, &params, u32::MAX)?;
    stream(&query, NDJSON, move |query, out| {
        let mut left = page.limit;
        each_envelope(query, page, Kinds::any_of(&[EVENT]), |opened| {
            // The event of a minidump follows in an envelope of its own, finished
            if has_minidump(opened.envelope) {
                return Ok(false);
            }
            let events = opened.envelope.items.iter().filter(|item| item.item_type() == EVENT);
            for json in events.filter_map(Item::json) {
                if let Some(event) = listed(query, &opened, json) {
                    write_line(out, &event)?;
                    left = left.saturating_sub(1);
                }
            }
            Ok(left == 0)
        })
    })
    .await
}

fn listed(query: &Query, opened: &ListedEnvelope<'_>, json: &str) -> Option<Listed> {
    let mut event = ErrorEvent::parse(json);
    if event.is_feedback() {
        return None;
    }
    // Before the frames are resolved, because they decide the issue
    let error = trace_error(opened.source, opened.envelope, &event);
    stack::resolve(&query.symbols, &mut event);
    Some(Listed { error, trace_id: event.trace_id.clone(), stack: ShownStack::of(event.main_stack()) })
}
