//! Stores what the recorder itself knows as items in its own journal, so that it is as durable as an envelope, is listed by the
//! same means, and is deleted with the others.

use std::time::{SystemTime, UNIX_EPOCH};

use chassis::problem::Problem;
use serde::Serialize;

use super::state::Query;
use crate::{
    journal::{Append, BodyKind, Encoding},
    protocol::{NO_PROJECT, digest::digest, envelope::Envelope, seconds},
};

/// Stores items of one type in one envelope, and returns its `seq` once they are durable.
///
/// `what` names them in the log, as in "changes of flags".
pub(super) async fn store(
    query: &Query,
    item_type: &str,
    items: &[impl Serialize],
    what: &'static str,
) -> Result<u64, Problem> {
    let unwritable = |error: &dyn std::error::Error| {
        tracing::error!(error = %error, "{what} could not be stored");
        Problem::internal()
    };
    let mut body = b"{}\n".to_vec();
    for item in items {
        let payload = serde_json::to_string(item).map_err(|error| unwritable(&error))?;
        body.extend_from_slice(format!("{{\"type\":\"{item_type}\"}}\n{payload}\n").as_bytes());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let received_at_us = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
    let digest = {
        let envelope = Envelope::parse(&body).map_err(|error| unwritable(&error))?;
        digest(NO_PROJECT, seconds(received_at_us), &envelope)
    };
    let append = Append {
        received_at_us,
        project: NO_PROJECT,
        kind: BodyKind::Envelope,
        encoding: Encoding::Identity,
        body: body.into(),
        digest,
    };
    query.journal.append(append).await.map_err(|error| unwritable(&error))
}
