//! States of issues as the queries and the pages show them.

use serde::Serialize;

use super::state::Query;
use crate::{
    domain::{State, Status, Substatus, due},
    index::{
        IndexError,
        read::IssueRow,
        read_issues::{self, KnownIssue},
    },
};

/// State of an issue, in Sentry's words.
#[derive(Debug, Serialize)]
pub(crate) struct IssueState {
    pub(crate) status: Status,
    pub(crate) substatus: Option<Substatus>,
    #[serde(rename = "statusDetails")]
    pub(crate) details: StatusDetails,
    /// Time of the last change of the status.
    pub(crate) status_since: f64,
    /// Release of its first event, if that named one.
    pub(crate) first_release: Option<String>,
}

/// In which release an issue is resolved, or until when it is archived.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StatusDetails {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) in_release: Option<String>,
    /// True while only the release is known after which the repair comes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) in_next_release: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) after_release: Option<String>,
    /// The commit in which it is resolved, while no release has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) in_commit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ignore_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ignore_until: Option<f64>,
}

impl IssueState {
    pub(crate) fn of(state: &State) -> Self {
        let mut details = StatusDetails::default();
        if let Some(resolution) = &state.resolution {
            let is_open = resolution.is_pending || resolution.current.as_ref() == Some(&resolution.release);
            let after = resolution.current.as_ref().or(is_open.then_some(&resolution.release));
            details.in_next_release = is_open;
            details.in_release = (!is_open).then(|| resolution.release.version.clone());
            details.after_release = after.map(|release| release.version.clone());
        }
        details.in_commit.clone_from(&state.commit);
        details.ignore_count = state.snooze.and_then(|snooze| snooze.events_left);
        details.ignore_until = state.snooze.and_then(|snooze| snooze.until);
        Self {
            status: state.status,
            substatus: state.substatus,
            details,
            status_since: state.since,
            first_release: state.first_release.clone(),
        }
    }
}

/// Returns the state of an issue with what is due by now.
pub(super) fn state_now(query: &Query, row: &IssueRow) -> Result<KnownIssue, IndexError> {
    let known = query.index.read(|connection| read_issues::issue(connection, row.issue))?;
    // The indexer stores both in one transaction, but these are two readings.
    let first = || KnownIssue {
        project: row.project,
        state: State::first(row.first_seen, None),
        activity: Vec::new(),
    };
    let KnownIssue { project, state, mut activity } = known.unwrap_or_else(first);
    let due = due(state, query.index.clock());
    activity.extend(due.activity);
    Ok(KnownIssue { project, state: due.state, activity })
}
