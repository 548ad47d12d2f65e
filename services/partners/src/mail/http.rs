//! `GET /mail/v1/messages?since=&limit=`: what arrived, the oldest first, in pages of bounded size.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use chassis::http::{Json, Query};
use serde::Deserialize;

use super::{Mailbox, Messages};

/// Most mails in one answer.
const MAILS_MAX: usize = 1_000;
/// Most bytes of mails in one answer, unless one mail alone is larger.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// All routes of the mail box.
pub fn routes(mailbox: Mailbox) -> Router {
    Router::new().route("/mail/v1/messages", get(messages)).with_state(mailbox)
}

/// Which part of the mail box.
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
