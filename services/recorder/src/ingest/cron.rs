//! Check-ins by URL, as a crontab sends them with `curl`.
//!
//! The stored envelope is the one that Sentry makes of such a request.

use axum::{
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;

use super::{
    Ingest,
    derived::{self, Sender},
    otlp::media_type,
    receive::with_seq,
    refusal::Refusal,
};
use crate::protocol::check_in;

/// Largest check-in in bytes, as for one in an envelope.
const BYTES_MAX: usize = 100 * 1024;
/// Answer to a check-in whose body was not read. `curl -d` sends another content type unless it is told one.
const BODY_IGNORED: &str = "the body was ignored, also its monitor_config: send it with the header `content-type: application/json`\n";

/// `GET` and `POST /api/{project}/cron/{slug}/{key}/`. `HEAD` is a check-in, too, because axum answers it as `GET` here and in Relay.
pub(super) async fn with_key(
    State(ingest): State<Ingest>,
    Path((project, slug, key)): Path<(String, String, String)>,
    request: Request,
) -> Response {
    check_in(&ingest, &Sender { project, key: Some(key) }, &slug, request).await
}

/// `GET` and `POST /api/{project}/cron/{slug}/`, with the key in a header or in the query.
pub(super) async fn without_key(
    State(ingest): State<Ingest>,
    Path((project, slug)): Path<(String, String)>,
    request: Request,
) -> Response {
    check_in(&ingest, &Sender { project, key: None }, &slug, request).await
}

async fn check_in(ingest: &Ingest, sender: &Sender, slug: &str, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let is_json = media_type(request.headers()).as_deref() == Some("application/json");
    let mut is_ignored = false;
    let envelope = |body: &[u8]| {
        is_ignored = !is_json && !body.is_empty();
        let envelope = match is_json {
            true => check_in::envelope_of_json(slug, body),
            false => check_in::envelope_of_query(slug, &query),
        };
        envelope.map_err(Refusal::CheckIn)
    };
    let received = derived::receive(ingest, sender, request, BYTES_MAX, envelope).await;
    match received {
        // As in Sentry, the check-in in the query counts.
        Ok((_, seq)) if is_ignored => with_seq(seq, (StatusCode::ACCEPTED, BODY_IGNORED)),
        Ok((_, seq)) => with_seq(seq, StatusCode::ACCEPTED),
        Err(refusal) => refusal.into_response(),
    }
}
