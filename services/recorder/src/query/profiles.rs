//! Queries for profiles: a listing, and the share of samples of each function.

use std::io::Read as _;

use axum::{Json, extract::State, response::Response};
use chassis::{http::Path, problem::Problem};
use serde::Serialize;
use serde_json::{Map, Value, value::to_raw_value};

use super::{
    lines::{ListedEnvelope, NDJSON, Out, WriteError, each_envelope, stream, with_envelope, write_line},
    params::UrlQuery,
    read_limit::ReadLimit,
    signals::payload_members,
    state::{ListParams, Query, page, run_query, with_lag},
};
use crate::{
    body,
    index::{IndexError, read},
    journal::Reader,
    protocol::{
        digest::Kinds,
        envelope::{Envelope, Item},
        profile::{self, PROFILE_TYPES, ProfileShares, ProfileSummary},
    },
};

/// `GET /api/v1/profiles?since=&project=&limit=`: profiles and chunks with their number of samples, without the samples.
pub(super) async fn list(
    State(query): State<Query>,
    UrlQuery(params): UrlQuery<ListParams>,
) -> Result<Response, Problem> {
    let page = page(&query, &params, u32::MAX)?;
    stream(&query, NDJSON, move |query, out| {
        let mut left = page.limit;
        let mut reader = query.journal.reader();
        each_envelope(query, page, Kinds::any_of(&PROFILE_TYPES), |opened| {
            left = left.saturating_sub(write_profiles(query, &mut reader, out, &opened)?);
            Ok(left == 0)
        })
    })
    .await
}

fn write_profiles(
    query: &Query,
    reader: &mut Reader,
    out: &mut Out,
    opened: &ListedEnvelope<'_>,
) -> Result<u32, WriteError> {
    let is_profile = |item: &&Item<'_>| PROFILE_TYPES.contains(&item.item_type().as_ref());
    let is_complete = opened.envelope.items.iter().filter(is_profile).all(|item| item.omitted == 0);
    let whole = if is_complete { None } else { whole_body(query, reader, opened.source.seq)? };
    let parsed = whole.as_deref().and_then(|bytes| Envelope::parse(bytes).ok());
    let items = &parsed.as_ref().unwrap_or(opened.envelope).items;
    let mut lines = 0;
    for item in items.iter().filter(is_profile) {
        let mut members = payload_members(opened, item)?;
        for (name, value) in facts(item) {
            members.insert(name, to_raw_value(&value)?);
        }
        write_line(out, &members)?;
        lines += 1;
    }
    Ok(lines)
}

/// Returns the facts that a line shows in addition to the item's own members. Empty when the payload is too large to be read.
fn facts(item: &Item<'_>) -> Map<String, Value> {
    let summary = item.json().map(profile::summary);
    match summary.map(serde_json::to_value) {
        Some(Ok(Value::Object(members))) => members,
        _ => Map::new(),
    }
}

/// A profile or a chunk in the list of a page.
#[derive(Debug)]
pub(crate) struct ListedProfile {
    pub(crate) seq: u64,
    pub(crate) received_at: f64,
    pub(crate) project: String,
    pub(crate) item_type: String,
    /// Empty when the payload is too large to be read.
    pub(crate) summary: ProfileSummary,
}

/// Returns the newest profiles and chunks, newest first.
pub(crate) fn recent(
    query: &Query,
    project: Option<u32>,
    limit: u32,
) -> Result<Vec<ListedProfile>, IndexError> {
    let (kinds, upto) = (Kinds::any_of(&PROFILE_TYPES), query.index.reached().indexed);
    let rows =
        query.index.read(|connection| read::envelopes_down_from(connection, upto, project, kinds, limit))?;
    let (mut reader, mut limit) = (query.journal.reader(), ReadLimit::default());
    let mut listed = Vec::new();
    for row in rows {
        if limit.is_reached() {
            break;
        }
        with_envelope(query, &mut reader, row, |opened| {
            limit.count(&opened);
            let items = opened.envelope.items.iter();
            let profiles = items.filter(|item| PROFILE_TYPES.contains(&item.item_type().as_ref()));
            listed.extend(profiles.map(|item| ListedProfile {
                seq: opened.source.seq,
                received_at: opened.source.received_at,
                project: opened.source.name.to_owned(),
                item_type: item.item_type().into_owned(),
                summary: item.json().map(profile::summary).unwrap_or_default(),
            }));
            Ok(())
        })?;
    }
    Ok(listed)
}

/// Reads a whole stored envelope. `None` when it was deleted, cannot be opened, or is larger than the recorder keeps in memory.
pub(super) fn whole_body(
    query: &Query,
    reader: &mut Reader,
    seq: u64,
) -> Result<Option<Vec<u8>>, WriteError> {
    let row = query.index.read(|connection| read::envelope(connection, seq))?;
    let Some(row) = row else { return Ok(None) };
    let Some(stored) = reader.read(row.location)? else { return Ok(None) };
    let bytes_max = query.limits.memory_bytes_max;
    let mut bytes = Vec::new();
    let length = body::decompressing(stored.encoding, &stored.body)
        .and_then(|plain| plain.take(bytes_max as u64 + 1).read_to_end(&mut bytes));
    Ok(length.is_ok_and(|length| length <= bytes_max).then_some(bytes))
}

/// Answer of [`one`].
#[derive(Debug, Serialize)]
struct EnvelopeProfiles {
    seq: u64,
    project: String,
    profiles: Vec<OneProfile>,
}

#[derive(Debug, Serialize)]
struct OneProfile {
    item_type: String,
    payload_bytes: u64,
    /// Absent when the payload is larger than the recorder keeps in memory.
    #[serde(flatten)]
    shares: Option<ProfileShares>,
}

/// `GET /api/v1/profiles/{seq}`: the profiles of one envelope with the share of each function.
pub(super) async fn one(State(query): State<Query>, Path(seq): Path<u64>) -> Result<Response, Problem> {
    // A profile is in memory as a whole.
    let slot = query.slots.acquire().await?;
    let (found, lag) = run_query(&query, move |query| {
        let found = profiles(query, seq);
        drop(slot);
        found
    })
    .await?;
    let found = found.filter(|found| !found.profiles.is_empty());
    Ok(with_lag(lag, Json(found.ok_or_else(Problem::not_found)?)))
}

fn profiles(query: &Query, seq: u64) -> Result<Option<EnvelopeProfiles>, IndexError> {
    let Some(row) = query.index.read(|connection| read::envelope(connection, seq))? else { return Ok(None) };
    let mut reader = query.journal.reader();
    let whole = whole_body(query, &mut reader, seq)?;
    let parsed = whole.as_deref().and_then(|bytes| Envelope::parse(bytes).ok());
    let found = with_envelope(query, &mut reader, row, |opened| {
        let items = &parsed.as_ref().unwrap_or(opened.envelope).items;
        let profiles = items
            .iter()
            .filter(|item| PROFILE_TYPES.contains(&item.item_type().as_ref()))
            .map(|item| OneProfile {
                item_type: item.item_type().into_owned(),
                payload_bytes: item.payload_bytes(),
                shares: item.json().map(profile::shares),
            })
            .collect();
        Ok(EnvelopeProfiles { seq, project: opened.source.name.to_owned(), profiles })
    })?;
    Ok(found)
}
