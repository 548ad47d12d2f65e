//! Queries for the envelopes themselves.

use std::io::{self, Write};

use axum::{extract::State, response::Response};
use base64::{prelude::BASE64_STANDARD, write::EncoderWriter};
use chassis::{http::Path, problem::Problem};
use http::HeaderValue;
use serde::Deserialize;

use super::{
    lines::{ListedEnvelope, NDJSON, Out, WriteError, each_envelope, stream, write_without_newlines},
    params::{UrlQueries, UrlQuery},
    state::{ListParams, Query, page, run_query},
};
use crate::{
    body::{self, Opened},
    index::read,
    journal::{BodyKind, Stored},
    protocol::{digest::Kinds, strict::strict_text},
};

/// Content type of an envelope.
const ENVELOPE: &str = "application/x-sentry-envelope";

/// Parameter `type` of the listing: types of items, with commas between them.
#[derive(Debug, Default, Deserialize)]
pub(super) struct TypeParams {
    #[serde(default, rename = "type")]
    item_type: Option<String>,
}

/// `GET /api/v1/envelopes?since=&project=&type=&limit=`
pub(super) async fn list(
    State(query): State<Query>,
    UrlQueries(params, types): UrlQueries<ListParams, TypeParams>,
) -> Result<Response, Problem> {
    let page = page(&query, &params, u32::MAX)?;
    let types: Vec<String> = types
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

fn write_envelope(out: &mut Out, opened: &ListedEnvelope<'_>) -> Result<(), WriteError> {
    let ListedEnvelope { source, envelope, .. } = opened;
    let received_at = source.received_at;
    write!(out, "{{\"seq\":{},\"received_at\":{received_at:.6},\"project\":", source.seq)?;
    serde_json::to_writer(&mut *out, source.name)?;
    out.write_all(b",\"headers\":")?;
    write_without_newlines(out, strict_text(envelope.headers_raw).as_bytes())?;
    out.write_all(b",\"items\":[")?;
    for (index, item) in envelope.items.iter().enumerate() {
        out.write_all(if index == 0 { b"{\"headers\":" } else { b",{\"headers\":" })?;
        write_without_newlines(out, strict_text(item.headers_raw).as_bytes())?;
        out.write_all(b",\"payload\":")?;
        match item.json() {
            _ if item.omitted > 0 => write!(out, "{{\"omitted_bytes\":{}}}", item.omitted)?,
            Some(json) => write_without_newlines(out, strict_text(json).as_bytes())?,
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

/// Parameters of `raw`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct RawParams {
    /// `received`: the bytes as received, still compressed.
    #[serde(default, rename = "as")]
    form: Option<String>,
}

/// `GET /api/v1/envelopes/{seq}/raw`: the envelope's bytes. `?as=received` leaves them compressed.
pub(super) async fn raw(
    State(query): State<Query>,
    Path(seq): Path<u64>,
    UrlQuery(params): UrlQuery<RawParams>,
) -> Result<Response, Problem> {
    let as_received = params.form.as_deref() == Some("received");
    let (found, _) = run_query(&query, move |query| {
        let row = query.index.read(|connection| read::envelope(connection, seq))?;
        Ok(row.map(|row| query.journal.reader().read(row.location)).transpose()?.flatten())
    })
    .await?;
    let stored = found.ok_or_else(Problem::not_found)?;
    let encoding = HeaderValue::from_static(stored.encoding.name());
    let mut response =
        stream(&query, ENVELOPE, move |query, out| write_raw(out, &stored, as_received, query.limits.body()))
            .await?;
    response.headers_mut().insert("x-recorder-content-encoding", encoding);
    Ok(response)
}

/// Writes the bytes as received, or the envelope as it was before its sender compressed it, or that was made of another body.
fn write_raw(
    out: &mut Out,
    stored: &Stored,
    as_received: bool,
    limits: body::Limits,
) -> Result<(), WriteError> {
    let Stored { kind, encoding, body, .. } = stored;
    if as_received {
        io::copy(&mut body.reader(), out)?;
    } else if *kind == BodyKind::Envelope {
        io::copy(&mut body::decompressing(*encoding, body)?, out)?;
    } else if let Opened::Plain(envelope) =
        body::open(*kind, *encoding, body, limits).map_err(io::Error::other)?
    {
        // Every kind but an envelope is opened as a whole.
        out.write_all(&envelope)?;
    }
    Ok(())
}
