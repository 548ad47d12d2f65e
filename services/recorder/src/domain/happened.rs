//! What can happen to an issue, and when.

use serde::{Deserialize, Serialize};

use super::{HourCount, Release};

/// The time, and how long an issue is new.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Now, in seconds since the epoch.
    pub now: f64,
    /// Time after which a new, regressed or escalating issue is ongoing. Sentry: 7 days.
    pub ongoing_after_s: f64,
}

/// How an issue is resolved.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// Without a release.
    Now,
    /// In this release.
    InRelease(String),
    /// In the release that follows the present one.
    InNextRelease,
    /// In the first release that has this commit.
    InCommit(String),
}

/// Until when an issue is archived.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// Until somebody opens it.
    Forever,
    /// Until so many further events arrived.
    Events(u64),
    /// Until this time, in seconds since the epoch.
    Time(f64),
    /// Until more events arrive in an hour than are forecast.
    Escalating,
}

/// Change of an issue that a person asks for.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// It is repaired.
    Resolve(How),
    /// It needs attention again.
    Reopen,
    /// It needs no attention.
    Archive(Until),
}

/// What happened to an issue.
#[derive(Clone, Copy, Debug)]
pub enum Happened<'a> {
    /// An event arrived, for the first time.
    Event {
        /// Time of the event, in seconds since the epoch.
        at: f64,
        /// Its release.
        release: Option<&'a str>,
        /// Its id.
        event_id: Option<&'a str>,
    },
    /// A person asked for a change.
    Command {
        /// The change.
        command: &'a Command,
        /// Who asked.
        by: &'a str,
        /// Time of the last event.
        last_seen: f64,
        /// Release of that event, or of the last one with a release.
        last_release: Option<&'a str>,
        /// Events of the hours of the last 7 days that have any, oldest first. They are needed for a forecast only.
        hours: &'a [HourCount],
        /// The first release that has the commit in which the issue is resolved. Absent without such a release or commit.
        of_commit: Option<&'a str>,
    },
    /// A release of the project became known.
    ReleaseAdded(&'a Release),
    /// Somebody gave a release of the project a date, so the order of the releases may be another one.
    ReleaseDated,
    /// Somebody said which commits are in a release of the project.
    CommitsAdded {
        /// The release.
        release: &'a Release,
        /// Ids of the commits.
        commits: &'a [String],
    },
    /// A person deleted a release of the project.
    ReleaseDeleted {
        /// Its name.
        version: &'a str,
        /// Who deleted it.
        by: &'a str,
    },
}
