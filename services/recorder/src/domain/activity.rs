//! What happened to an issue, and why.

use serde::{Deserialize, Serialize};

/// Largest number of entries that are kept for an issue. Further ones replace the oldest.
pub const ACTIVITY_MAX: usize = 50;

/// Kind of an entry. The names are Sentry's, except that of `ReleaseDeleted`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ActivityKind {
    /// Its first event arrived.
    FirstSeen,
    /// Somebody resolved it, without a release.
    SetResolved,
    /// Somebody resolved it in a release, or that release became known.
    SetResolvedInRelease,
    /// Somebody resolved it in a commit.
    SetResolvedInCommit,
    /// An event came after it was resolved.
    SetRegression,
    /// Somebody opened it again, or the time until which it was archived is over.
    SetUnresolved,
    /// Somebody archived it.
    SetIgnored,
    /// The number of events until which it was archived is reached, or there are more in an hour than were forecast.
    SetEscalating,
    /// It has been known for long enough.
    AutoSetOngoing,
    /// The release in which it was resolved was deleted.
    ReleaseDeleted,
}

/// One entry of an issue's activity.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Activity {
    /// Time, in seconds since the epoch.
    pub at: f64,
    /// Kind of the entry.
    #[serde(rename = "type")]
    pub kind: ActivityKind,
    /// Person or program that did it. Absent for what happened by itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub by: Option<String>,
    /// Event that caused it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub event_id: Option<String>,
    /// Release that it concerns.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
    /// Reason in words.
    pub why: String,
}

impl Activity {
    pub(super) fn new(at: f64, kind: ActivityKind, why: impl Into<String>) -> Self {
        Self { at, kind, by: None, event_id: None, version: None, why: why.into() }
    }

    pub(super) fn by(self, by: &str) -> Self {
        Self { by: Some(by.to_owned()), ..self }
    }

    pub(super) fn of_release(self, version: Option<&str>) -> Self {
        Self { version: version.map(ToOwned::to_owned), ..self }
    }
}
