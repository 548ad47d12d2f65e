//! One envelope, from the socket into the journal.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::{
    Json,
    body::{Body, HttpBody as _},
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, header, request::Parts};
use http_body_util::BodyExt as _;

use super::{
    Ingest,
    admission::{Admitted, SMALL_BYTES},
    answer::{Kept, Refusal},
};
use crate::{
    body::{self, BodyError},
    journal::{Append, BodyKind, Encoding},
    protocol::{
        auth::{self, Dsn},
        digest::{self, Digest},
        envelope::Envelope,
    },
};

/// A body that is not there by then is given up, so that slow senders cannot hold all places.
const BODY_DEADLINE: Duration = Duration::from_secs(15);
/// How much of a refused body is heard out, and for how long.
const HEARD_BYTES_MAX: usize = 16 * 1024 * 1024;
const HEARD_DEADLINE: Duration = Duration::from_secs(5);

pub(super) async fn envelope(state: State<Ingest>, project: Path<String>, request: Request) -> Response {
    receive(state, project, request, BodyKind::Envelope).await
}

pub(super) async fn store(state: State<Ingest>, project: Path<String>, request: Request) -> Response {
    receive(state, project, request, BodyKind::Store).await
}

async fn receive(
    State(ingest): State<Ingest>,
    Path(project): Path<String>,
    request: Request,
    kind: BodyKind,
) -> Response {
    let (parts, mut body) = request.into_parts();
    match keep(&ingest, &project, &parts, &mut body, kind).await {
        Ok((kept, seq)) => {
            let mut response = Json(kept).into_response();
            if let Some(seq) = seq {
                response.headers_mut().insert("x-recorder-seq", HeaderValue::from(seq));
            }
            response
        }
        Err(refusal) => {
            tracing::debug!(project, status = refusal.status().as_u16(), reason = %refusal, "an envelope was refused");
            hear_out(&mut body).await;
            refusal.into_response()
        }
    }
}

async fn keep(
    ingest: &Ingest,
    project: &str,
    parts: &Parts,
    body: &mut Body,
    kind: BodyKind,
) -> Result<(Kept, Option<u64>), Refusal> {
    let project: u32 = project.parse().map_err(|_| Refusal::BadProject)?;
    let key = key_of_request(parts);
    if let Some(key) = &key {
        authorise(ingest, project, key)?;
    } else if kind == BodyKind::Store {
        return Err(Refusal::MissingKey);
    }
    let encoding = encoding(&parts.headers)?;
    let mut place = ingest.admission.enter().await?;
    let reading = read_body(ingest, &mut place, body);
    let body = tokio::time::timeout(BODY_DEADLINE, reading)
        .await
        .map_err(|_| Refusal::Unreadable("it did not arrive in time".to_owned()))??;

    let inspect = Inspect { project, key, kind, encoding, body: body.clone() };
    let inspected = inspect_within(ingest, &mut place, inspect).await?;
    let append = Append {
        received_at_us: now_us(),
        project,
        kind,
        encoding,
        body: body.clone(),
        digest: inspected.digest,
    };
    let seq = if ingest.answer_before_write {
        ingest.journal.append_unsafely(append).await?;
        None
    } else {
        Some(ingest.journal.append(append).await?)
    };
    ingest.forwarder.offer(project, kind, encoding, body);
    Ok((Kept { id: inspected.id }, seq))
}

/// The key in the headers or the query; the envelope's DSN comes later, when there is a body.
fn key_of_request(parts: &Parts) -> Option<String> {
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    [header("x-sentry-auth"), header("authorization")]
        .into_iter()
        .flatten()
        .find_map(auth::key_from_header)
        .map(str::to_owned)
        .or_else(|| parts.uri.query().and_then(auth::key_from_query))
}

fn authorise(ingest: &Ingest, project: u32, key: &str) -> Result<(), Refusal> {
    match ingest.projects.of_key(key) {
        Some(id) if id == project => Ok(()),
        Some(_) => Err(Refusal::OtherProject),
        None => Err(Refusal::UnknownKey),
    }
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Refusal> {
    let Some(value) = headers.get(header::CONTENT_ENCODING) else { return Ok(Encoding::Identity) };
    match value.to_str().unwrap_or("?").trim().to_ascii_lowercase().as_str() {
        "" | "identity" | "utf-8" | "utf8" => Ok(Encoding::Identity),
        "gzip" | "x-gzip" => Ok(Encoding::Gzip),
        "deflate" => Ok(Encoding::Deflate),
        "br" => Ok(Encoding::Brotli),
        "zstd" => Ok(Encoding::Zstd),
        _ => Err(Refusal::Encoding),
    }
}

/// Reads the body within the limit; beyond a small one only in the large place.
async fn read_body(ingest: &Ingest, place: &mut Admitted, body: &mut Body) -> Result<Bytes, Refusal> {
    let limit = ingest.limits.body_bytes_max;
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(Refusal::TooLarge(limit));
    }
    let mut first = None;
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Refusal::Unreadable(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() + first.as_ref().map_or(0, Bytes::len) > limit {
            return Err(Refusal::TooLarge(limit));
        }
        match first.take() {
            // The usual case: a body of one frame is not copied.
            None if whole.is_empty() => first = Some(data),
            before => {
                if whole.is_empty() {
                    whole.reserve(announced.min(SMALL_BYTES));
                }
                whole.extend_from_slice(&before.unwrap_or_default());
                whole.extend_from_slice(&data);
            }
        }
        if whole.len() > SMALL_BYTES {
            place.grow().await?;
        }
    }
    Ok(first.unwrap_or_else(|| whole.freeze()))
}

/// Reads the rest of a refused body, and throws it away: a sender that meets a closed connection while it writes never
/// reads why.
async fn hear_out(body: &mut Body) {
    let reading = async {
        let mut left = HEARD_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    };
    if tokio::time::timeout(HEARD_DEADLINE, reading).await.is_err() {
        tracing::debug!("a refused sender did not come to an end");
    }
}

/// What has to be found out about a body before it is kept.
struct Inspect {
    project: u32,
    key: Option<String>,
    kind: BodyKind,
    encoding: Encoding,
    body: Bytes,
}

struct Inspected {
    id: Option<String>,
    digest: Digest,
}

/// Small bodies are opened here and now; large ones one at a time, on a thread that may take its time.
async fn inspect_within(
    ingest: &Ingest,
    place: &mut Admitted,
    inspect: Inspect,
) -> Result<Inspected, Refusal> {
    if !place.is_large() {
        match inspect.run(ingest, SMALL_BYTES) {
            Err(Refusal::Body(BodyError::TooLarge { .. })) => place.grow().await?,
            done => return done,
        }
    }
    let ingest = ingest.clone();
    let limit = ingest.limits.envelope_bytes_max;
    tokio::task::spawn_blocking(move || inspect.run(&ingest, limit)).await.map_err(|_| Refusal::Worker)?
}

impl Inspect {
    fn run(&self, ingest: &Ingest, limit: usize) -> Result<Inspected, Refusal> {
        let limit = limit.min(ingest.limits.envelope_bytes_max);
        let plain = body::open(self.kind, self.encoding, &self.body, limit)?;
        let envelope = Envelope::parse(&plain)?;
        self.check_dsn(ingest, &envelope)?;
        Ok(Inspected { id: envelope.event_id(), digest: digest::digest(self.project, &envelope) })
    }

    /// The envelope's DSN is the key where there is no other, and must not contradict it where there is.
    fn check_dsn(&self, ingest: &Ingest, envelope: &Envelope<'_>) -> Result<(), Refusal> {
        let dsn = envelope.headers.dsn.as_deref().map(Dsn::parse);
        match (&self.key, dsn) {
            (_, Some(None)) => Err(Refusal::OtherDsn),
            (None, None) => Err(Refusal::MissingKey),
            (Some(_), None) => Ok(()),
            (Some(key), Some(Some(own))) if *key != own.key => Err(Refusal::OtherDsn),
            (_, Some(Some(own))) => {
                authorise(ingest, self.project, &own.key)?;
                if own.project == self.project { Ok(()) } else { Err(Refusal::OtherProject) }
            }
        }
    }
}

fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
