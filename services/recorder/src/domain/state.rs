//! State of one issue.

use serde::{Deserialize, Serialize};

use super::{Forecast, Resolution};

/// Status of an issue, as Sentry names it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It needs attention.
    Unresolved,
    /// Somebody says that it is repaired.
    Resolved,
    /// It is archived.
    Ignored,
}

/// Kind of a status, as Sentry names it. A resolved issue has none.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Substatus {
    /// It was first seen in the last days.
    New,
    /// It is known for longer.
    Ongoing,
    /// It came back after it was resolved.
    Regressed,
    /// The number of events until which it was archived is reached, or there are more in an hour than were forecast.
    Escalating,
    /// Only a person ends the archiving.
    ArchivedForever,
    /// A number of events or a time ends the archiving.
    ArchivedUntilConditionMet,
    /// More events in an hour than are forecast end the archiving.
    ArchivedUntilEscalating,
}

/// Condition that ends the archiving of an issue.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Snooze {
    /// Number of events after which it ends.
    pub events_left: Option<u64>,
    /// Time at which it ends, in seconds since the epoch.
    pub until: Option<f64>,
}

/// State of one issue. Times are in seconds since the epoch.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct State {
    /// Status.
    pub status: Status,
    /// Kind of the status.
    pub substatus: Option<Substatus>,
    /// Time of the last change of the status or its kind.
    pub since: f64,
    /// Time of the earliest event.
    pub first_seen: f64,
    /// Release of the event that came first.
    pub first_release: Option<String>,
    /// Time at which the issue last became active: its first event, or the event that regressed it.
    pub active_at: f64,
    /// Time of the last event when the issue was resolved.
    pub seen_before_resolving: f64,
    /// The release in which it is resolved.
    pub resolution: Option<Resolution>,
    /// The commit in which it is resolved, while no release has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Until when it is archived.
    pub snooze: Option<Snooze>,
    /// The limit above which it escalates, if it is archived until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Forecast>,
}

/// Writes a number of events that an archived issue waits for.
pub(crate) fn further_events(count: u64) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} further event{plural}")
}

impl State {
    /// Returns the state of an issue whose first event is of this time and release.
    #[must_use]
    pub fn first(at: f64, release: Option<&str>) -> Self {
        Self {
            status: Status::Unresolved,
            substatus: Some(Substatus::New),
            since: at,
            first_seen: at,
            first_release: release.map(ToOwned::to_owned),
            active_at: at,
            seen_before_resolving: at,
            resolution: None,
            commit: None,
            snooze: None,
            forecast: None,
        }
    }

    /// Returns true when a new release can complete its resolution in the next release.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.resolution.as_ref().is_some_and(|resolution| resolution.is_pending)
    }

    /// Changes the status, and forgets what belonged to the one before.
    pub(super) fn with_status(self, status: Status, substatus: Option<Substatus>, since: f64) -> Self {
        Self {
            status,
            substatus,
            since,
            resolution: None,
            commit: None,
            snooze: None,
            forecast: None,
            ..self
        }
    }
}
