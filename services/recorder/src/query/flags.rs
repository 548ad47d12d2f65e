//! Changes of feature flags: Sentry's webhook for them, the list of changes, and those just before an issue.
//!
//! A change is stored in the journal as an item of its own type ([`own_items`]). Changes concern the organisation, so they have no
//! project.

use std::collections::BTreeSet;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use chassis::{
    config::Secret,
    http::{Path, RawBody},
    problem::Problem,
};
use hmac::{Hmac, Mac as _};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{lines::each_envelope, own_items, state::Query};
use crate::{
    index::{IndexError, Page, read},
    protocol::{NO_PROJECT, digest::Kinds, fields::Fields},
};

/// Item type of a stored change.
pub(crate) const FLAG_CHANGE: &str = "flag_change";
/// Header with the hexadecimal HMAC-SHA256 of the body.
const SIGNATURE: &str = "x-sentry-signature";
/// The one provider whose format is known.
const GENERIC: &str = "generic";
/// Version of the format.
const VERSION: u64 = 1;
/// Largest number of changes in one request.
const CHANGES_MAX: usize = 100;
/// Longest name of a flag (Sentry: 100 characters).
const FLAG_CHARACTERS_MAX: usize = 100;
/// Longest id of the person or program that made a change (Sentry: 100 characters).
const AUTHOR_CHARACTERS_MAX: usize = 100;
/// Time before the first event of an issue in which a change is shown with it.
const JUST_BEFORE_S: f64 = 15.0 * 60.0;
/// Largest number of changes that are shown with an issue.
const SHOWN_MAX: usize = 10;
/// Largest number of stored changes that are read for it.
const READ_MAX: u32 = 10_000;

/// Body of the webhook.
#[derive(Debug, Deserialize)]
struct Payload {
    data: Vec<Change>,
    meta: Meta,
}

#[derive(Debug, Deserialize)]
struct Meta {
    version: u64,
}

/// One change of a flag.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Change {
    pub(crate) action: Action,
    /// Id of the change, chosen by the sender.
    pub(crate) change_id: i64,
    /// Time of the change, as RFC 3339.
    pub(crate) created_at: String,
    pub(crate) created_by: Author,
    pub(crate) flag: String,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    Created,
    Updated,
    Deleted,
}

/// Person or program that made a change.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Author {
    pub(crate) id: String,
    #[serde(rename = "type")]
    pub(crate) kind: AuthorKind,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AuthorKind {
    Email,
    Id,
    Name,
}

/// A change as the list and the pages show it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct StoredChange {
    pub(crate) flag: String,
    pub(crate) action: String,
    /// Time of the change, in seconds since the epoch.
    pub(crate) at: f64,
}

/// Parameters of the path.
#[derive(Debug, Deserialize)]
pub(super) struct Hook {
    /// The organisation. The recorder has only one, so any name is accepted.
    #[serde(rename = "organization")]
    _organization: String,
    provider: String,
}

/// `POST /api/0/organizations/{organization}/flags/hooks/provider/{provider}/`
///
/// Answers 401 without a valid signature, and 200 once the changes are stored.
pub(super) async fn hook(
    State(query): State<Query>,
    Path(hook): Path<Hook>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result<Response, Problem> {
    if hook.provider != GENERIC {
        return Err(Problem::not_found().detail("the only provider is generic"));
    }
    if !is_signed(&query.flag_hook_secret, &headers, &body) {
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "The signature is missing or wrong",
        )
        .detail(format!("{SIGNATURE} must be the hexadecimal HMAC-SHA256 of the body")));
    }
    let payload: Payload =
        serde_json::from_slice(&body).map_err(|error| Problem::bad_request(error.to_string()))?;
    check(&payload).map_err(Problem::bad_request)?;
    own_items::store(&query, FLAG_CHANGE, &payload.data, "changes of flags").await?;
    tracing::info!(changes = payload.data.len(), "changes of flags were stored");
    Ok(StatusCode::OK.into_response())
}

/// Compares the signature in constant time. Without a configured secret no signature is valid.
fn is_signed(secret: &Secret, headers: &HeaderMap, body: &[u8]) -> bool {
    let Some(given) = headers.get(SIGNATURE).and_then(|value| hex::decode(value.as_bytes()).ok()) else {
        return false;
    };
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else { return false };
    !secret.is_empty() && mac.chain_update(body).verify_slice(&given).is_ok()
}

fn check(payload: &Payload) -> Result<(), String> {
    if payload.meta.version != VERSION {
        return Err(format!("meta.version must be {VERSION}"));
    }
    if payload.data.is_empty() || payload.data.len() > CHANGES_MAX {
        return Err(format!("data must have from 1 to {CHANGES_MAX} changes"));
    }
    for change in &payload.data {
        let is_short = |text: &str, characters_max| (1..=characters_max).contains(&text.chars().count());
        if !is_short(&change.flag, FLAG_CHARACTERS_MAX) {
            return Err(format!("flag must have from 1 to {FLAG_CHARACTERS_MAX} characters"));
        }
        if !is_short(&change.created_by.id, AUTHOR_CHARACTERS_MAX) {
            return Err(format!("created_by.id must have from 1 to {AUTHOR_CHARACTERS_MAX} characters"));
        }
        if OffsetDateTime::parse(&change.created_at, &Rfc3339).is_err() {
            return Err("created_at must be a time in the form of RFC 3339".to_owned());
        }
    }
    Ok(())
}

/// Returns the last changes in the time before a moment, newest first. A change that was sent again is there once.
pub(crate) fn just_before(query: &Query, at: f64) -> Result<Vec<StoredChange>, IndexError> {
    let mut changes = Changes::before(at);
    let mut left = READ_MAX;
    // A change cannot have been received before it was made.
    let begin_us = ((at - JUST_BEFORE_S).max(0.0) * 1e6) as u64;
    let since = query.index.read(|connection| read::last_seq_before(connection, begin_us))?;
    let page = Page { since, project: Some(NO_PROJECT), limit: u32::MAX };
    each_envelope(query, page, Kinds::of(FLAG_CHANGE), |opened| {
        for item in opened.envelope.items.iter().filter(|item| item.item_type() == FLAG_CHANGE) {
            changes.add(item.json().unwrap_or_default());
            left = left.saturating_sub(1);
        }
        Ok(left == 0)
    })?;
    Ok(changes.newest())
}

/// Changes in the time before a moment, each once.
struct Changes {
    until: f64,
    /// Id, flag and time of each change. A sender may give several changes the same id.
    known: BTreeSet<(String, String, String)>,
    found: Vec<StoredChange>,
}

impl Changes {
    fn before(until: f64) -> Self {
        Self { until, known: BTreeSet::new(), found: Vec::new() }
    }

    /// Adds a stored change, unless it is known or outside of the time.
    fn add(&mut self, json: &str) {
        let fields = Fields::parse(json);
        let (Some(at), Some(flag)) = (fields.time("created_at").0, fields.text("flag")) else { return };
        let text = |name: &str| fields.text(name).unwrap_or_default();
        let is_inside = (self.until - JUST_BEFORE_S..=self.until).contains(&at);
        if is_inside && self.known.insert((text("change_id"), flag.clone(), text("created_at"))) {
            self.found.push(StoredChange { flag, action: text("action"), at });
        }
    }

    fn newest(mut self) -> Vec<StoredChange> {
        self.found.sort_by(|a, b| b.at.total_cmp(&a.at));
        self.found.truncate(SHOWN_MAX);
        self.found
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::json;

    use super::*;

    #[test]
    fn signature_is_valid_for_its_body_and_secret() {
        // HMAC-SHA256 of "The quick brown fox jumps over the lazy dog" with the key "key".
        let known = "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8";
        let body = b"The quick brown fox jumps over the lazy dog";
        let headers = |text: &'static str| {
            HeaderMap::from_iter([(http::HeaderName::from_static(SIGNATURE), HeaderValue::from_static(text))])
        };
        let secret = Secret::from("key");
        assert!(is_signed(&secret, &headers(known), body));
        assert!(!is_signed(&secret, &headers(known), b"another body"));
        assert!(!is_signed(&Secret::from("other"), &headers(known), body));
        assert!(!is_signed(&secret, &headers("f7bc"), body) && !is_signed(&secret, &headers("no hex"), body));
        assert!(!is_signed(&secret, &HeaderMap::new(), body));
        // HMAC-SHA256 of an empty text with an empty key.
        let of_nothing = "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad";
        assert!(!is_signed(&Secret::default(), &headers(of_nothing), b""), "no secret is configured");
    }

    #[test]
    fn change_that_was_sent_again_is_shown_once() {
        let sent = |change_id: i64, created_at: &str, action: &str| {
            let author = json!({"id": "operator", "type": "name"});
            json!({"action": action, "change_id": change_id, "created_at": created_at, "created_by": author,
                "flag": "redis.flush"})
            .to_string()
        };
        let (armed, disarmed) = ("1970-01-01T00:50:00+00:00", "1970-01-01T00:55:00+00:00");
        let mut changes = Changes::before(3_600.0);
        for json in [
            sent(7, armed, "updated"),
            sent(7, armed, "updated"),
            sent(8, disarmed, "updated"),
            sent(7, disarmed, "deleted"),
            sent(9, "1970-01-01T00:44:59+00:00", "created"),
            sent(9, "1970-01-01T01:00:01+00:00", "created"),
        ] {
            changes.add(&json);
        }
        let shown: Vec<(f64, String)> =
            changes.newest().into_iter().map(|change| (change.at, change.action)).collect();
        let expected = [(3_300.0, "updated"), (3_300.0, "deleted"), (3_000.0, "updated")];
        assert_eq!(shown, expected.map(|(at, action)| (at, action.to_owned())));
    }

    #[test]
    fn payloads_in_another_form_are_refused() {
        let change = json!({"action": "updated", "change_id": 7, "created_at": "2026-11-29T10:00:00+00:00",
            "created_by": {"id": "operator", "type": "name"}, "flag": "payment.random-failure"});
        let checked = |member: &str, value: serde_json::Value| {
            let mut change = change.clone();
            change[member] = value;
            let payload = json!({"data": [change], "meta": {"version": 1}});
            let payload: Result<Payload, _> = serde_json::from_value(payload);
            payload.map_err(|error| error.to_string()).and_then(|payload| check(&payload))
        };
        assert_eq!(checked("flag", json!("user.n-plus-one")), Ok(()));
        for (member, value) in [
            ("flag", json!("")),
            ("flag", json!("x".repeat(101))),
            ("created_at", json!("yesterday")),
            ("action", json!("armed")),
            ("change_id", json!("seven")),
            ("created_by", json!({"id": "operator", "type": "robot"})),
        ] {
            assert!(checked(member, value.clone()).is_err(), "{member} {value}");
        }
    }
}
