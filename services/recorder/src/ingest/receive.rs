//! Receives one envelope from the socket and stores it in the journal.

use std::{
    io::Read as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Json,
    body::Body as HttpBody,
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header, request::Parts};
use http_body_util::BodyExt as _;
use uuid::Uuid;

use super::{
    Ingest,
    admission::{Admitted, SMALL_BYTES},
    receive_body::{ReceiveLimits, ReceivedBody, receive_body},
    refusal::{Accepted, Refusal},
};
use crate::{
    body::{self, BodyError, Opened},
    forward::Volume,
    journal::{Append, Body, BodyKind, Encoding},
    protocol::{
        auth::{self, Dsn},
        digest::{self, Digest, Kinds, MINIDUMP},
        envelope::{self, Envelope},
        seconds,
    },
};

/// Initial waiting time for a body, the rate that extends it, and the longest wait from any moment on.
const BODY_WAIT: Duration = Duration::from_secs(10);
const BYTES_PER_S_MIN: u64 = 16 * 1024;
const BODY_WAIT_MAX: Duration = Duration::from_secs(20);
/// Waiting time for senders without a key, whose whole body is a few lines.
const ANONYMOUS_WAIT: Duration = Duration::from_secs(3);
/// Limits in bytes and time for reading the rest of a refused body.
const DRAIN_BYTES_MAX: usize = 16 * 1024 * 1024;
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);

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
    match receive_as(&ingest, &project, request, Ok(kind)).await {
        Ok((accepted, seq)) => with_seq(seq, Json(accepted)),
        Err(refusal) => refusal.into_response(),
    }
}

/// Stores the body of a request as one of this kind. Returns the id of its event, and its place in the journal.
pub(super) async fn receive_as(
    ingest: &Ingest,
    project: &str,
    request: Request,
    kind: Result<BodyKind, Refusal>,
) -> Result<(Accepted, Option<u64>), Refusal> {
    let (parts, mut body) = request.into_parts();
    let accepted = match kind {
        Ok(kind) => accept(ingest, project, &parts, &mut body, kind).await,
        Err(refusal) => Err(refusal),
    };
    if let Err(refusal) = &accepted {
        tracing::debug!(project, status = refusal.status().as_u16(), reason = %refusal, "an envelope was refused");
        drain_body(&mut body).await;
    }
    accepted
}

/// Adds the place in the journal to the response for a stored body.
pub(super) fn with_seq(seq: Option<u64>, response: impl IntoResponse) -> Response {
    let mut response = response.into_response();
    if let Some(seq) = seq {
        response.headers_mut().insert("x-recorder-seq", HeaderValue::from(seq));
    }
    response
}

async fn accept(
    ingest: &Ingest,
    project: &str,
    parts: &Parts,
    body: &mut HttpBody,
    kind: BodyKind,
) -> Result<(Accepted, Option<u64>), Refusal> {
    let project: u32 = project.parse().map_err(|_| Refusal::BadProject)?;
    let key = key_of_request(parts);
    if let Some(key) = &key {
        authorise(ingest, project, key)?;
    } else if kind != BodyKind::Envelope {
        return Err(Refusal::MissingKey);
    }
    let encoding = encoding(&parts.headers)?;
    let bytes_max = bytes_max(ingest, kind, encoding);
    let received = receive_from(ingest, key.is_some(), bytes_max, body).await?;
    let mut permit = ingest.admission.admit().await?;
    let body = in_memory_if_small(received.body.clone()).await?;
    let received_at_us = now_us();
    let inspection = Inspection { project, received_at_us, key, kind, encoding, body: body.clone() };
    let Inspected { id, digest, volumes } = open_and_inspect(ingest, &mut permit, inspection).await?;
    let has_minidump = digest.kinds.has(Kinds::of(MINIDUMP));
    let append = Append { received_at_us, project, kind, encoding, body: body.clone(), digest };
    let seq = if ingest.answer_before_write {
        ingest.journal.append_unsafely(append).await?;
        None
    } else {
        Some(ingest.journal.append(append).await?)
    };
    ingest.forwarder.push(project, kind, encoding, body, volumes);
    if has_minidump {
        ingest.crashes.stored();
    }
    let id = match (id, seq) {
        (EventId::Sent(id), _) => Some(id),
        (EventId::Generated, Some(seq)) => Some(envelope::generated_id(seq, seconds(received_at_us))),
        (EventId::Generated, None) => Some(Uuid::new_v4().simple().to_string()),
        (EventId::None, _) => None,
    };
    Ok((Accepted { id }, seq))
}

/// Returns the limit for a body before decompression. An export of OpenTelemetry is read as a whole.
fn bytes_max(ingest: &Ingest, kind: BodyKind, encoding: Encoding) -> usize {
    let limits = &ingest.limits;
    let plain = match kind.otlp() {
        Some(_) => limits.memory_bytes_max.min(limits.envelope_bytes_max),
        None => limits.envelope_bytes_max,
    };
    match encoding {
        Encoding::Identity => plain,
        _ => limits.body_bytes_max.min(plain),
    }
}

/// Reads the body. A sender without a key needs one of few permits and may send only a small body.
pub(super) async fn receive_from(
    ingest: &Ingest,
    has_key: bool,
    largest: usize,
    body: &mut HttpBody,
) -> Result<ReceivedBody, Refusal> {
    let (permit, bytes_max, wait, wait_max) = if has_key {
        (None, largest, BODY_WAIT, BODY_WAIT_MAX)
    } else {
        let permit = ingest.admission.admit_anonymous().await?;
        (Some(permit), largest.min(SMALL_BYTES), ANONYMOUS_WAIT, ANONYMOUS_WAIT)
    };
    let limits = ReceiveLimits { bytes_max, wait, bytes_per_s_min: BYTES_PER_S_MIN, wait_max };
    let received = receive_body(body, &ingest.spool, limits).await;
    drop(permit);
    received
}

/// Reads a small body back into memory.
pub(super) async fn in_memory_if_small(body: Body) -> Result<Body, Refusal> {
    if body.bytes() > SMALL_BYTES as u64 || body.memory().is_some() {
        return Ok(body);
    }
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        body.reader().read_to_end(&mut bytes).map(|_| Body::from(bytes))
    });
    read.await.map_err(|_| Refusal::Worker)?.map_err(|_| Refusal::Spool)
}

/// Returns the key from the headers or the query. The envelope's DSN is checked later, when the body is there.
pub(super) fn key_of_request(parts: &Parts) -> Option<String> {
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    [header("x-sentry-auth"), header("authorization")]
        .into_iter()
        .flatten()
        .find_map(auth::key_from_header)
        .map(str::to_owned)
        .or_else(|| parts.uri.query().and_then(auth::key_from_query))
}

pub(super) fn authorise(ingest: &Ingest, project: u32, key: &str) -> Result<(), Refusal> {
    match ingest.projects.find_by_key(key) {
        Some(id) if id == project => Ok(()),
        Some(_) => Err(Refusal::OtherProject),
        None => Err(Refusal::UnknownKey),
    }
}

pub(super) fn encoding(headers: &HeaderMap) -> Result<Encoding, Refusal> {
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

/// Reads and discards the rest of a refused body. A sender that finds the connection closed while it writes never reads the
/// reason.
pub(super) async fn drain_body(body: &mut HttpBody) {
    let reading = async {
        let mut left = DRAIN_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    };
    if tokio::time::timeout(DRAIN_DEADLINE, reading).await.is_err() {
        tracing::debug!("a refused sender did not finish its body in time");
    }
}

/// Input of the checks before a body is stored.
struct Inspection {
    project: u32,
    received_at_us: u64,
    key: Option<String>,
    kind: BodyKind,
    encoding: Encoding,
    body: Body,
}

struct Inspected {
    id: EventId,
    digest: Digest,
    /// Volumes that are lost if the copy is dropped. Empty when the project is not forwarded.
    volumes: Vec<Volume>,
}

/// Event id of an envelope.
enum EventId {
    /// Id from the sender.
    Sent(String),
    /// There is an event without an id, so the recorder generates one.
    Generated,
    /// There is no event.
    None,
}

/// Opens a small body directly, and large bodies one at a time on a blocking thread.
async fn open_and_inspect(
    ingest: &Ingest,
    permit: &mut Admitted,
    inspection: Inspection,
) -> Result<Inspected, Refusal> {
    if let Some(bytes) = inspection.body.memory() {
        let limit = SMALL_BYTES.min(ingest.limits.envelope_bytes_max);
        match body::plain(inspection.kind, inspection.encoding, bytes, limit) {
            // Without a key, a small body must not decompress to a large one.
            Err(BodyError::TooLarge { .. }) if inspection.key.is_some() => {}
            opened => return inspection.inspect(ingest, &Opened::Plain(opened?)),
        }
    }
    permit.wait_for_large().await?;
    let ingest = ingest.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let opened =
            body::open(inspection.kind, inspection.encoding, &inspection.body, ingest.limits.body())?;
        inspection.inspect(&ingest, &opened)
    });
    opened.await.map_err(|_| Refusal::Worker)?
}

impl Inspection {
    fn inspect(&self, ingest: &Ingest, opened: &Opened<'_>) -> Result<Inspected, Refusal> {
        let envelope = opened.envelope()?;
        self.check_dsn(ingest, &envelope)?;
        let sent = || envelope.event_id().or_else(|| envelope.payload_event_id());
        let id = match envelope.needs_event_id() {
            true => sent().map_or(EventId::Generated, EventId::Sent),
            false => envelope.event_id().map_or(EventId::None, EventId::Sent),
        };
        let digest = digest::digest(self.project, seconds(self.received_at_us), &envelope);
        let forwarded = ingest.forwarder.has_target(self.project);
        let volumes = if forwarded { Volume::of_envelope(&envelope) } else { Vec::new() };
        Ok(Inspected { id, digest, volumes })
    }

    /// Checks the envelope's DSN. It is the key when the request has none, and must not contradict the request's key.
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
