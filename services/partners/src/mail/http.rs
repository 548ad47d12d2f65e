//! `GET /mail/v1/messages?since=&limit=`: what arrived, the oldest first.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use chassis::http::{Json, Query};
use serde::{Deserialize, Serialize};

use super::{Mail, Mailbox};

/// Most mails in one answer.
const MAILS_MAX: usize = 1_000;

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

/// A part of the mail box.
#[derive(Debug, Serialize)]
struct Messages {
    messages: Vec<Mail>,
}

async fn messages(State(mailbox): State<Mailbox>, Query(page): Query<Page>) -> Json<Messages> {
    let limit = page.limit.unwrap_or(MAILS_MAX).min(MAILS_MAX);
    Json(Messages { messages: mailbox.since(page.since, limit) })
}
