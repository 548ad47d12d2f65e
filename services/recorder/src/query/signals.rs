//! Queries for the other signals of SDKs, each as lines of its own fields with `seq`, `received_at` and `project`.

use std::collections::BTreeMap;

use axum::{
    extract::State,
    response::Response,
    routing::{MethodRouter, get},
};
use chassis::problem::Problem;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{
    lines::{ListedEnvelope, NDJSON, Out, WriteError, each_envelope, stream, write_line},
    params::UrlQuery,
    state::{ListParams, Query, page},
};
use crate::protocol::{
    assembly,
    digest::Kinds,
    envelope::Item,
    event::ErrorEvent,
    fields::Fields,
    strict::strict,
    trace::{Log, Metric},
};

/// Members that are too long for a line. The raw envelope contains them.
const LONG_MEMBERS: [&str; 3] = ["profile", "debug_meta", "measurements"];

/// `GET /api/v1/metrics?since=&project=&limit=`
pub(super) async fn metrics(
    State(query): State<Query>,
    UrlQuery(params): UrlQuery<ListParams>,
) -> Result<Response, Problem> {
    each_item(&query, &params, &["trace_metric"], |out, opened, item| {
        write_entries::<Metric>(out, |each| assembly::metrics(opened.source, item, each))
    })
    .await
}

/// `GET /api/v1/logs?since=&project=&limit=`
pub(super) async fn logs(
    State(query): State<Query>,
    UrlQuery(params): UrlQuery<ListParams>,
) -> Result<Response, Problem> {
    each_item(&query, &params, &["log"], |out, opened, item| {
        write_entries::<Log>(out, |each| assembly::logs(opened.source, item, each))
    })
    .await
}

/// `GET /api/v1/feedback?since=&project=&limit=`: user feedback, from any type of item.
pub(super) async fn feedback(
    State(query): State<Query>,
    UrlQuery(params): UrlQuery<ListParams>,
) -> Result<Response, Problem> {
    each_item(&query, &params, &["feedback", "user_report", "event"], |out, opened, item| {
        let is_error = item.item_type() == "event"
            && !item.json().is_some_and(|json| ErrorEvent::parse(json).is_feedback());
        if is_error { Ok(0) } else { payload_line(out, opened, item) }
    })
    .await
}

/// Returns the handler of a listing of the payloads of these item types: `?since=&project=&limit=`.
///
/// Sessions are updates and aggregates as received, which `/releases` counts. Recordings are listed with their size.
pub(super) fn payloads(types: &'static [&'static str]) -> MethodRouter<Query> {
    get(move |State(query): State<Query>, UrlQuery(params): UrlQuery<ListParams>| async move {
        each_item(&query, &params, types, payload_line).await
    })
}

/// Streams the items of these types. A limit never cuts inside an envelope, so that `since` can continue behind it.
async fn each_item<F>(
    query: &Query,
    params: &ListParams,
    types: &'static [&'static str],
    write: F,
) -> Result<Response, Problem>
where
    F: Fn(&mut Out, &ListedEnvelope<'_>, &Item<'_>) -> Result<u32, WriteError> + Send + 'static,
{
    let page = page(query, params, u32::MAX)?;
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

/// Writes the entries that `read` finds, until one cannot be written. Returns their number.
fn write_entries<T: Serialize>(
    out: &mut Out,
    read: impl FnOnce(&mut dyn FnMut(T)),
) -> Result<u32, WriteError> {
    let (mut lines, mut written) = (0, Ok(()));
    read(&mut |entry| {
        if written.is_ok() {
            lines += 1;
            written = write_line(out, &entry);
        }
    });
    written.map(|()| lines)
}

/// Writes the item's own members, without the bulky ones.
fn payload_line(out: &mut Out, opened: &ListedEnvelope<'_>, item: &Item<'_>) -> Result<u32, WriteError> {
    write_line(out, &payload_members(opened, item)?)?;
    Ok(1)
}

/// Members of a line by name, as JSON text.
pub(super) type Members = BTreeMap<String, Box<RawValue>>;

/// Returns the members of a payload without the bulky ones, and the facts of its envelope. Without the former if it is not JSON.
pub(super) fn payload_members(
    opened: &ListedEnvelope<'_>,
    item: &Item<'_>,
) -> Result<Members, serde_json::Error> {
    let fields = item.json().map(Fields::parse).unwrap_or_default();
    let own = fields.with_nulls().filter(|(name, _)| !LONG_MEMBERS.contains(name));
    let mut members: Members = own.map(|(name, value)| (name.to_owned(), strict(value.to_owned()))).collect();
    members.insert("seq".to_owned(), to_raw_value(&opened.source.seq)?);
    members.insert("received_at".to_owned(), to_raw_value(&opened.source.received_at)?);
    members.insert("project".to_owned(), to_raw_value(opened.source.name)?);
    members.insert("item_type".to_owned(), to_raw_value(&item.item_type())?);
    members.insert("payload_bytes".to_owned(), to_raw_value(&item.payload_bytes())?);
    Ok(members)
}
