//! HTTP interface: `GET /mail/v1/messages?since=&limit=` returns e-mails, oldest first, in pages of bounded size.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use chassis::http::{Json, Query};
use serde::Deserialize;

use super::{Mailbox, Messages};

/// Largest number of e-mails in one answer.
const MAILS_MAX: usize = 1_000;
/// Largest number of bytes of e-mails in one answer. A single larger e-mail is returned alone.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// Returns all routes of the mailbox.
pub fn routes(mailbox: Mailbox) -> Router {
    Router::new().route("/mail/v1/messages", get(messages)).with_state(mailbox)
}

/// Part of the mailbox.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Page {
    since: u64,
    limit: Option<usize>,
}

async fn messages(State(mailbox): State<Mailbox>, Query(page): Query<Page>) -> Json<Messages> {
    let limit = page.limit.unwrap_or(MAILS_MAX).min(MAILS_MAX);
    Json(mailbox.since(page.since, limit, PAGE_BYTES_MAX))
}
