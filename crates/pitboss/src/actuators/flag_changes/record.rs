//! One flag change, in the form of Sentry's generic webhook.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A change of one fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::actuators) struct Change {
    pub(super) action: Action,
    /// A number that no other change has, by which a receiver knows a repetition.
    pub(super) change_id: i64,
    /// Time of the change, as RFC 3339.
    pub(super) created_at: String,
    pub(super) created_by: Author,
    pub(super) flag: String,
}

/// Kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Action {
    /// The fault was armed.
    Created,
    /// Its scope, values or end were changed.
    Updated,
    /// It was disarmed, or its time is over.
    Deleted,
}

/// Program that made the change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Author {
    id: String,
    #[serde(rename = "type")]
    kind: String,
}

impl Author {
    pub(super) fn named(name: &str) -> Self {
        Self { id: name.to_owned(), kind: "name".to_owned() }
    }
}

impl Change {
    pub(super) fn new(action: Action, change_id: i64, at_ms: i64, created_by: Author, flag: String) -> Self {
        Self { action, change_id, created_at: rfc3339(at_ms), created_by, flag }
    }
}

fn rfc3339(at_ms: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at_ms) * 1_000_000);
    at.unwrap_or(OffsetDateTime::UNIX_EPOCH).format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn change_has_the_form_of_the_webhook() {
        let at_ms = 1_796_040_000_250;
        let change = Change::new(Action::Updated, 7, at_ms, Author::named("cli"), "consumer.slow".to_owned());
        let expected = json!({
            "action": "updated",
            "change_id": 7,
            "created_at": "2026-11-30T12:00:00.25Z",
            "created_by": { "id": "cli", "type": "name" },
            "flag": "consumer.slow",
        });
        assert_eq!(serde_json::to_value(change).unwrap(), expected);
    }
}
