//! Queries for the other signals of SDKs, each as lines of its own fields with `seq`, `received_at` and `project`.

use axum::{extract::State, response::Response};
use chassis::{http::Query as UrlQuery, problem::Problem};
use serde_json::{Map, Value};

use super::{
    Query, Wanted,
    lines::{NDJSON, Opened, Out, WriteError, each_envelope, line, stream},
    page,
};
use crate::protocol::{digest::Kinds, envelope::Item, event::ErrorEvent, trace};

/// Members that are too long for a line. The raw envelope contains them.
const BULKY: [&str; 3] = ["profile", "debug_meta", "measurements"];

/// `GET /api/v1/metrics?since=&project=&limit=`
pub(super) async fn metrics(
    State(query): State<Query>,
    UrlQuery(wanted): UrlQuery<Wanted>,
) -> Result<Response, Problem> {
    each_item(&query, &wanted, &["trace_metric"], |out, opened, item| {
        let (mut lines, mut written) = (0, Ok(()));
        trace::metrics(opened.source, item, |metric| {
            if written.is_ok() {
                lines += 1;
                written = line(out, &metric);
            }
        });
        written.map(|()| lines)
    })
    .await
}

/// `GET /api/v1/logs?since=&project=&limit=`
pub(super) async fn logs(
    State(query): State<Query>,
    UrlQuery(wanted): UrlQuery<Wanted>,
) -> Result<Response, Problem> {
    each_item(&query, &wanted, &["log"], |out, opened, item| {
        let (mut lines, mut written) = (0, Ok(()));
        trace::logs(opened.source, item, |log| {
            if written.is_ok() {
                lines += 1;
                written = line(out, &log);
            }
        });
        written.map(|()| lines)
    })
    .await
}

/// `GET /api/v1/sessions?since=&project=&limit=`: updates and sums as received. `/releases` counts them.
pub(super) async fn sessions(
    State(query): State<Query>,
    UrlQuery(wanted): UrlQuery<Wanted>,
) -> Result<Response, Problem> {
    each_item(&query, &wanted, &["session", "sessions"], payload_line).await
}

/// `GET /api/v1/feedback?since=&project=&limit=`: user feedback, from any type of item.
pub(super) async fn feedback(
    State(query): State<Query>,
    UrlQuery(wanted): UrlQuery<Wanted>,
) -> Result<Response, Problem> {
    each_item(&query, &wanted, &["feedback", "user_report", "event"], |out, opened, item| {
        let is_error = item.item_type() == "event"
            && !item.json().is_some_and(|json| ErrorEvent::parse(json).is_feedback());
        if is_error { Ok(0) } else { payload_line(out, opened, item) }
    })
    .await
}

/// `GET /api/v1/check-ins?since=&project=&limit=`
pub(super) async fn check_ins(
    State(query): State<Query>,
    UrlQuery(wanted): UrlQuery<Wanted>,
) -> Result<Response, Problem> {
    each_item(&query, &wanted, &["check_in"], payload_line).await
}

/// `GET /api/v1/profiles?since=&project=&limit=`, without the samples.
pub(super) async fn profiles(
    State(query): State<Query>,
    UrlQuery(wanted): UrlQuery<Wanted>,
) -> Result<Response, Problem> {
    each_item(&query, &wanted, &["profile", "profile_chunk"], payload_line).await
}

/// `GET /api/v1/replays?since=&project=&limit=`: events, and recordings with their size.
pub(super) async fn replays(
    State(query): State<Query>,
    UrlQuery(wanted): UrlQuery<Wanted>,
) -> Result<Response, Problem> {
    each_item(&query, &wanted, &["replay_event", "replay_recording"], payload_line).await
}

/// `GET /api/v1/client-reports?since=&project=&limit=`
pub(super) async fn client_reports(
    State(query): State<Query>,
    UrlQuery(wanted): UrlQuery<Wanted>,
) -> Result<Response, Problem> {
    each_item(&query, &wanted, &["client_report"], payload_line).await
}

/// Streams the items of these types. A limit never cuts inside an envelope, so that `since` can continue behind it.
async fn each_item<F>(
    query: &Query,
    wanted: &Wanted,
    types: &'static [&'static str],
    write: F,
) -> Result<Response, Problem>
where
    F: Fn(&mut Out, &Opened<'_>, &Item<'_>) -> Result<u32, WriteError> + Send + 'static,
{
    let page = page(query, wanted, u32::MAX)?;
    stream(query, NDJSON, move |query, out| {
        let mut left = page.limit;
        each_envelope(query, page, Kinds::any_of(types), |opened| {
            for item in &opened.envelope.items {
                if types.contains(&item.item_type().as_ref()) {
                    left = left.saturating_sub(write(out, &opened, item)?);
                }
            }
            Ok(left == 0)
        })
    })
    .await
}

/// Writes the item's own members, without the bulky ones.
fn payload_line(out: &mut Out, opened: &Opened<'_>, item: &Item<'_>) -> Result<u32, WriteError> {
    let mut members: Map<String, Value> = serde_json::from_slice(item.payload).unwrap_or_default();
    for bulky in BULKY {
        members.remove(bulky);
    }
    members.insert("seq".to_owned(), opened.source.seq.into());
    members.insert("received_at".to_owned(), opened.source.received_at.into());
    members.insert("project".to_owned(), opened.source.name.into());
    members.insert("item_type".to_owned(), item.item_type().into());
    members.insert("payload_bytes".to_owned(), item.payload_bytes().into());
    line(out, &members)?;
    Ok(1)
}
