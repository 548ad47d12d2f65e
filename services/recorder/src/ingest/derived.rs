//! Small requests that are no envelopes, and of which Sentry makes one. That envelope is stored, as if it had been sent.

use axum::{body::Body as HttpBody, extract::Request};
use http::HeaderValue;

use super::{
    Ingest,
    receive::{
        authorise, drain_body, encoding, in_memory_if_small, key_of_request, receive_as, receive_from,
    },
    refusal::{Accepted, Refusal},
};
use crate::{
    body,
    journal::{BodyKind, Encoding},
};

/// Project and key in the path of a request. Without one the key is in a header or in the query.
pub(super) struct Sender {
    pub(super) project: String,
    pub(super) key: Option<String>,
}

/// Checks the key, reads the decompressed body and stores the envelope that is made of it. `bytes_max` is at most `SMALL_BYTES`, because
/// the body is in memory.
pub(super) async fn receive(
    ingest: &Ingest,
    sender: &Sender,
    request: Request,
    bytes_max: usize,
    envelope: impl FnOnce(&[u8]) -> Result<Vec<u8>, Refusal> + Send,
) -> Result<(Accepted, Option<u64>), Refusal> {
    let (parts, mut body) = request.into_parts();
    let key = sender.key.clone().or_else(|| key_of_request(&parts));
    let made =
        match made_of(ingest, sender, key.as_deref(), encoding(&parts.headers), &mut body, bytes_max).await {
            Ok(bytes) => envelope(&bytes),
            Err(refusal) => Err(refusal),
        };
    match made {
        Ok(envelope) => {
            let request = as_sent(key.as_deref().unwrap_or_default(), envelope)?;
            receive_as(ingest, &sender.project, request, Ok(BodyKind::Envelope)).await
        }
        Err(refusal) => {
            tracing::debug!(
                project = sender.project, status = refusal.status().as_u16(), reason = %refusal,
                "a request was refused"
            );
            drain_body(&mut body).await;
            Err(refusal)
        }
    }
}

async fn made_of(
    ingest: &Ingest,
    sender: &Sender,
    key: Option<&str>,
    encoding: Result<Encoding, Refusal>,
    body: &mut HttpBody,
    bytes_max: usize,
) -> Result<Vec<u8>, Refusal> {
    let project: u32 = sender.project.parse().map_err(|_| Refusal::BadProject)?;
    authorise(ingest, project, key.ok_or(Refusal::MissingKey)?)?;
    let encoding = encoding?;
    let received = receive_from(ingest, true, bytes_max, body).await?;
    let body = in_memory_if_small(received.body.clone()).await?;
    let bytes = body.memory().ok_or(Refusal::TooLarge(bytes_max))?;
    Ok(body::plain(BodyKind::Envelope, encoding, bytes, bytes_max)?.into_owned())
}

/// Returns the request that an SDK would send. The key belongs to a project, so it fits into a header.
pub(super) fn as_sent(key: &str, envelope: Vec<u8>) -> Result<Request, Refusal> {
    let auth = HeaderValue::try_from(format!("Sentry sentry_key={key}")).map_err(|_| Refusal::UnknownKey)?;
    let mut request = Request::new(HttpBody::from(envelope));
    request.headers_mut().insert("x-sentry-auth", auth);
    Ok(request)
}
