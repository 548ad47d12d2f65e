//! The envelopes themselves.

use std::io::Write;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use base64::{prelude::BASE64_STANDARD, write::EncoderWriter};
use chassis::{
    http::{Path, Query as UrlQuery},
    problem::Problem,
};
use http::{HeaderValue, header};
use serde::Deserialize;

use super::{
    Query, Wanted, ask,
    lines::{NDJSON, Opened, Out, WriteError, each_envelope, one_line, stream},
    page, with_lag,
};
use crate::{
    body,
    index::read,
    journal::{Encoding, Stored},
    protocol::digest::Kinds,
};

/// `GET /api/v1/envelopes?since=&project=&type=&limit=`
pub(super) async fn list(
    State(query): State<Query>,
    UrlQuery(wanted): UrlQuery<Wanted>,
) -> Result<Response, Problem> {
    let page = page(&query, &wanted, u32::MAX)?;
    let types: Vec<String> = wanted
        .item_type
        .iter()
        .flat_map(|list| list.split(','))
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    stream(&query, NDJSON, move |query, out| {
        let names: Vec<&str> = types.iter().map(String::as_str).collect();
        let mut left = page.limit;
        each_envelope(query, page, Kinds::any_of(&names), |opened| {
            let wanted = names.is_empty()
                || opened.envelope.items.iter().any(|item| names.contains(&item.item_type().as_ref()));
            if wanted && left > 0 {
                left -= 1;
                write_envelope(out, &opened)?;
            }
            Ok(left == 0)
        })
    })
    .await
}

fn write_envelope(out: &mut Out, opened: &Opened<'_>) -> Result<(), WriteError> {
    let Opened { source, received_at, envelope } = opened;
    write!(out, "{{\"seq\":{},\"received_at\":{received_at:.6},\"project\":", source.seq)?;
    serde_json::to_writer(&mut *out, source.name)?;
    out.write_all(b",\"headers\":")?;
    one_line(out, envelope.headers_raw.as_bytes())?;
    out.write_all(b",\"items\":[")?;
    for (index, item) in envelope.items.iter().enumerate() {
        out.write_all(if index == 0 { b"{\"headers\":" } else { b",{\"headers\":" })?;
        one_line(out, item.headers_raw.as_bytes())?;
        out.write_all(b",\"payload\":")?;
        match item.json() {
            Some(json) => one_line(out, json.as_bytes())?,
            None => {
                out.write_all(b"{\"base64\":\"")?;
                let mut encoder = EncoderWriter::new(&mut *out, &BASE64_STANDARD);
                encoder.write_all(item.payload)?;
                encoder.finish()?;
                drop(encoder);
                out.write_all(b"\"}")?;
            }
        }
        out.write_all(b"}")?;
    }
    out.write_all(b"]}\n")?;
    Ok(())
}

/// What `raw` takes.
#[derive(Debug, Default, Deserialize)]
pub(super) struct RawWanted {
    /// `received`: the bytes as they came, compressed as they were.
    #[serde(default, rename = "as")]
    form: Option<String>,
}

/// `GET /api/v1/envelopes/{seq}/raw`: the envelope's bytes; `?as=received` leaves them compressed as they came.
pub(super) async fn raw(
    State(query): State<Query>,
    Path(seq): Path<u64>,
    UrlQuery(wanted): UrlQuery<RawWanted>,
) -> Result<Response, Problem> {
    let as_received = wanted.form.as_deref() == Some("received");
    let (found, lag) = ask(&query, move |query| {
        let row = query.index.read(|connection| read::envelope(connection, seq))?;
        let stored = row.map(|row| query.journal.reader().read(row.place)).transpose()?.flatten();
        let bytes_max = query.limits.envelope_bytes_max;
        Ok(stored.map(|stored| {
            let encoding = HeaderValue::from_static(stored.encoding.name());
            let bytes = if as_received { Ok(stored.body) } else { opened(stored, bytes_max) };
            (encoding, bytes)
        }))
    })
    .await?;
    let (encoding, bytes) = found.ok_or_else(Problem::not_found)?;
    let mut response = with_lag(lag, bytes?);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-sentry-envelope"));
    headers.insert("x-recorder-content-encoding", encoding);
    Ok(response.into_response())
}

/// The envelope as it was before its sender compressed it.
fn opened(stored: Stored, bytes_max: usize) -> Result<Vec<u8>, Problem> {
    let opened = body::open(stored.kind, stored.encoding, &stored.body, bytes_max)
        .map_err(|error| Problem::bad_request(error.to_string()))?;
    Ok(match (stored.encoding, opened) {
        (Encoding::Identity, std::borrow::Cow::Borrowed(_)) => stored.body,
        (_, opened) => opened.into_owned(),
    })
}
