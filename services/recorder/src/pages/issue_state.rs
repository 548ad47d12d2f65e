//! State and activity of an issue in words.

use super::format::clock;
use crate::{
    domain::{Activity, ActivityKind, Status, Substatus, further_events},
    query::issue_states::IssueState,
};

/// One entry of the activity.
pub(super) struct ActivityLine {
    pub(super) at: String,
    pub(super) what: &'static str,
    pub(super) by: String,
    pub(super) why: String,
}

impl From<&Activity> for ActivityLine {
    fn from(entry: &Activity) -> Self {
        let what = match entry.kind {
            ActivityKind::FirstSeen => "first seen",
            ActivityKind::SetResolved => "resolved",
            ActivityKind::SetResolvedInRelease => "resolved in a release",
            ActivityKind::SetResolvedInCommit => "resolved in a commit",
            ActivityKind::SetRegression => "regressed",
            ActivityKind::SetUnresolved => "opened",
            ActivityKind::SetIgnored => "archived",
            ActivityKind::SetEscalating => "escalating",
            ActivityKind::AutoSetOngoing => "ongoing",
            ActivityKind::ReleaseDeleted => "release deleted",
        };
        let by = entry.by.clone().unwrap_or_default();
        Self { at: clock(entry.at), what, by, why: entry.why.clone() }
    }
}

/// Returns the state in a few words, such as `resolved in game@1.2.3`.
pub(super) fn words(state: &IssueState) -> String {
    let details = &state.details;
    match (state.status, state.substatus) {
        (Status::Resolved, _) => match (&details.in_release, &details.after_release) {
            (Some(release), _) => format!("resolved in {release}"),
            (None, Some(after)) => format!("resolved in the next release after {after}"),
            (None, None) => match &details.in_commit {
                Some(commit) => format!("resolved in commit {commit}"),
                None => "resolved".to_owned(),
            },
        },
        (Status::Ignored, Some(Substatus::ArchivedUntilEscalating)) => {
            "archived until it escalates".to_owned()
        }
        (Status::Ignored, _) => match (details.ignore_count, details.ignore_until) {
            (Some(count), _) => format!("archived until {}", further_events(count)),
            (None, Some(until)) => format!("archived until {}", clock(until)),
            (None, None) => "archived".to_owned(),
        },
        (Status::Unresolved, Some(Substatus::New)) => "new".to_owned(),
        (Status::Unresolved, Some(Substatus::Regressed)) => "regressed".to_owned(),
        (Status::Unresolved, Some(Substatus::Escalating)) => "escalating".to_owned(),
        (Status::Unresolved, _) => "ongoing".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Release, Resolution, Snooze, State};

    #[test]
    fn states_are_told_in_words() {
        let release = |version: &str| Release::added(version, 1);
        let resolved = |resolution| State { status: Status::Resolved, resolution, ..State::first(0.0, None) };
        let archived = |snooze| State { status: Status::Ignored, snooze, ..State::first(0.0, None) };
        let in_release = |current: Option<&str>, is_pending| {
            Some(Resolution { release: release("g@2"), is_pending, current: current.map(release) })
        };
        for (state, expected) in [
            (State::first(0.0, None), "new"),
            (resolved(None), "resolved"),
            (State { commit: Some("4b2d".to_owned()), ..resolved(None) }, "resolved in commit 4b2d"),
            (resolved(in_release(None, false)), "resolved in g@2"),
            (resolved(in_release(Some("g@1"), false)), "resolved in g@2"),
            (resolved(in_release(Some("g@2"), false)), "resolved in the next release after g@2"),
            (resolved(in_release(None, true)), "resolved in the next release after g@2"),
            (archived(None), "archived"),
            (
                State { substatus: Some(Substatus::ArchivedUntilEscalating), ..archived(None) },
                "archived until it escalates",
            ),
            (archived(Some(Snooze { events_left: Some(5), until: None })), "archived until 5 further events"),
            (archived(Some(Snooze { events_left: Some(1), until: None })), "archived until 1 further event"),
            (
                archived(Some(Snooze { events_left: None, until: Some(0.0) })),
                "archived until 1970-01-01 00:00:00.000",
            ),
        ] {
            assert_eq!(words(&IssueState::of(&state)), expected);
        }
    }
}
