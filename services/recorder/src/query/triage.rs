//! Changes of the states of issues by operators, in the form of Sentry's API, and the deletion of releases.
//!
//! A change is stored in the journal. The indexer decides what it means ([`crate::domain`]), in the order of arrival with the
//! events, so that a change and an event that arrive side by side have one outcome.

use std::ops::RangeInclusive;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use chassis::{
    http::{Path, RawBody},
    problem::Problem,
};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use uuid::Uuid;

use super::{
    admin::authorise,
    issues, own_items,
    params::UrlQuery,
    state::{Query, run_query, unknown_project, with_lag},
};
use crate::{
    domain::{Command, How, Until},
    index::read_issues,
    protocol::{
        actions::{Action, OPERATOR_ACTION, OperatorAction},
        to_microsecond,
    },
};

/// Longest name of the person or program that acts.
const BY_CHARACTERS_MAX: usize = 100;
/// Largest number of events until which an issue can be archived.
const IGNORE_COUNT_MAX: u64 = 1_000_000;
/// Longest time for which an issue can be archived, in minutes: a year.
const IGNORE_MINUTES_MAX: u64 = 525_600;
/// Lengths of the id of a commit. A shortened one is another commit here, as in Sentry.
const COMMIT_CHARACTERS: RangeInclusive<usize> = 7..=64;
/// Name with which a request means the newest release.
pub(super) const LATEST: &str = "latest";

/// Body of a change. Sentry drops members that it does not know. Here they are refused, because somebody mistyped.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Update {
    status: RequestedStatus,
    #[serde(default)]
    substatus: Option<RequestedSubstatus>,
    #[serde(default, rename = "statusDetails")]
    details: RequestedDetails,
    /// Who acts.
    #[serde(default = "operator")]
    by: String,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
enum RequestedStatus {
    Resolved,
    ResolvedInNextRelease,
    Unresolved,
    Ignored,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
enum RequestedSubstatus {
    #[serde(rename = "archived_forever")]
    Forever,
    #[serde(rename = "archived_until_condition_met")]
    UntilConditionMet,
    #[serde(rename = "archived_until_escalating")]
    UntilEscalating,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RequestedDetails {
    in_release: Option<String>,
    in_next_release: Option<bool>,
    in_commit: Option<RequestedCommit>,
    ignore_count: Option<u64>,
    /// In minutes, as in Sentry.
    ignore_duration: Option<u64>,
}

/// A commit, as Sentry's API names it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestedCommit {
    commit: String,
    /// Commits are not told apart by their repository.
    #[serde(default, rename = "repository")]
    _repository: Option<String>,
}

pub(super) fn operator() -> String {
    "operator".to_owned()
}

/// `PUT /api/v1/issues/{issue_id}`: changes the state of an issue. Answers with the issue.
pub(super) async fn update(
    State(query): State<Query>,
    Path(issue): Path<Uuid>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result<Response, Problem> {
    authorise(&query, &headers)?;
    let update: Update =
        serde_json::from_slice(&body).map_err(|error| Problem::bad_request(error.to_string()))?;
    check_author(&update.by)?;
    let command = update.command(query.index.clock().now).map_err(Problem::bad_request)?;
    let command = with_known_release(&query, issue, command).await?;
    let action = OperatorAction { by: update.by, action: Action::ChangeIssue { issue, command } };
    own_items::store(&query, OPERATOR_ACTION, &[action], "an operator's action").await?;
    tracing::info!("an operator changed the state of an issue");
    let (detail, lag) = run_query(&query, move |query| issues::detail(query, issue)).await?;
    Ok(with_lag(lag, Json(detail.ok_or_else(Problem::not_found)?)))
}

impl Update {
    /// Returns the change that is asked for. `now` is in seconds since the epoch.
    fn command(&self, now: f64) -> Result<Command, String> {
        let RequestedDetails { in_release, in_next_release, in_commit, ignore_count, ignore_duration } =
            &self.details;
        let is_in_release = in_release.is_some() || in_next_release.is_some() || in_commit.is_some();
        let is_until = ignore_count.is_some() || ignore_duration.is_some();
        let is_resolved = self.status == RequestedStatus::Resolved;
        if is_in_release && !is_resolved {
            return Err("inRelease, inNextRelease and inCommit need the status resolved".to_owned());
        }
        if (is_until || self.substatus.is_some()) && self.status != RequestedStatus::Ignored {
            return Err("ignoreCount, ignoreDuration and a substatus need the status ignored".to_owned());
        }
        match self.status {
            RequestedStatus::Unresolved => Ok(Command::Reopen),
            RequestedStatus::ResolvedInNextRelease => Ok(Command::Resolve(How::InNextRelease)),
            RequestedStatus::Ignored => self.until(now).map(Command::Archive),
            RequestedStatus::Resolved if in_commit.is_some() => {
                self.in_commit().map(|commit| Command::Resolve(How::InCommit(commit)))
            }
            RequestedStatus::Resolved => match (in_release, in_next_release) {
                (Some(_), Some(true)) => Err("inRelease and inNextRelease exclude each other".to_owned()),
                (Some(version), _) => Ok(Command::Resolve(How::InRelease(version.clone()))),
                (None, Some(true)) => Ok(Command::Resolve(How::InNextRelease)),
                (None, _) => Ok(Command::Resolve(How::Now)),
            },
        }
    }

    fn in_commit(&self) -> Result<String, String> {
        let RequestedDetails { in_release, in_next_release, in_commit, .. } = &self.details;
        if in_release.is_some() || *in_next_release == Some(true) {
            return Err("inCommit excludes inRelease and inNextRelease".to_owned());
        }
        let commit = in_commit.as_ref().map(|commit| commit.commit.as_str()).unwrap_or_default();
        commit_id(commit)
    }

    fn until(&self, now: f64) -> Result<Until, String> {
        let RequestedDetails { ignore_count, ignore_duration, .. } = self.details;
        let until = match (ignore_count, ignore_duration) {
            (Some(_), Some(_)) => return Err("ignoreCount and ignoreDuration exclude each other".to_owned()),
            (Some(events), None) if (1..=IGNORE_COUNT_MAX).contains(&events) => Until::Events(events),
            (Some(_), None) => return Err(format!("ignoreCount must be from 1 to {IGNORE_COUNT_MAX}")),
            (None, Some(minutes)) if (1..=IGNORE_MINUTES_MAX).contains(&minutes) => {
                Until::Time(to_microsecond(now + minutes as f64 * 60.0))
            }
            (None, Some(_)) => {
                return Err(format!("ignoreDuration must be from 1 to {IGNORE_MINUTES_MAX} minutes"));
            }
            (None, None) => Until::Forever,
        };
        let is_forever = until == Until::Forever;
        match (self.substatus, is_forever) {
            (Some(RequestedSubstatus::UntilEscalating), true) => Ok(Until::Escalating),
            (Some(RequestedSubstatus::UntilEscalating), false) => {
                Err("archived_until_escalating has no other condition".to_owned())
            }
            (Some(RequestedSubstatus::Forever), false) => Err("archived_forever has no condition".to_owned()),
            (Some(RequestedSubstatus::UntilConditionMet), true) => {
                Err("archived_until_condition_met needs ignoreCount or ignoreDuration".to_owned())
            }
            _ => Ok(until),
        }
    }
}

/// Checks the id of a commit, and writes it in lower case.
pub(super) fn commit_id(text: &str) -> Result<String, String> {
    let is_valid =
        COMMIT_CHARACTERS.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let refusal = || {
        let (least, most) = (*COMMIT_CHARACTERS.start(), *COMMIT_CHARACTERS.end());
        format!("the id of a commit has {least} to {most} hexadecimal digits")
    };
    is_valid.then(|| text.to_ascii_lowercase()).ok_or_else(refusal)
}

pub(super) fn check_author(by: &str) -> Result<(), Problem> {
    let is_valid = (1..=BY_CHARACTERS_MAX).contains(&by.chars().count()) && !by.chars().any(char::is_control);
    let message = || Problem::bad_request(format!("by must have from 1 to {BY_CHARACTERS_MAX} characters"));
    is_valid.then_some(()).ok_or_else(message)
}

/// Checks that the issue and the release exist, and replaces `latest`.
async fn with_known_release(query: &Query, issue: Uuid, command: Command) -> Result<Command, Problem> {
    let (known, _) = run_query(query, move |query| {
        let Some(row) = query.read_index(|connection| read_issues::issue(connection, issue))? else {
            return Ok(None);
        };
        Ok(Some(query.read_index(|connection| read_issues::releases(connection, row.project))?))
    })
    .await?;
    let releases = known.ok_or_else(Problem::not_found)?;
    let Command::Resolve(How::InRelease(version)) = command else { return Ok(command) };
    let found = if version == LATEST { releases.newest() } else { releases.find(&version) };
    let missing = || {
        let problem =
            format!("the issue's project has no release \"{version}\": GET /api/v1/releases lists them");
        Problem::bad_request(problem)
    };
    let release = found.ok_or_else(missing)?;
    Ok(Command::Resolve(How::InRelease(release.version.clone())))
}

/// Parameters of the deletion of a release.
#[derive(Debug, Deserialize)]
pub(super) struct ReleaseParams {
    project: String,
    release: String,
    #[serde(default = "operator")]
    by: String,
}

/// `DELETE /api/v1/releases?project=&release=&by=`: forgets a release, and what is resolved in it, as Sentry does.
///
/// Answers 409 for a release that Sentry does not delete: one in which an issue was first seen, or one with sessions.
pub(super) async fn delete_release(
    State(query): State<Query>,
    headers: HeaderMap,
    UrlQuery(params): UrlQuery<ReleaseParams>,
) -> Result<Response, Problem> {
    authorise(&query, &headers)?;
    let ReleaseParams { project: name, release, by } = params;
    check_author(&by)?;
    let project = query.projects.find(&name).ok_or_else(|| unknown_project(&query, &name))?;
    let version = release.clone();
    let (refusal, _) = run_query(&query, move |query| {
        query.read_index(|connection| {
            if read_issues::releases(connection, project)?.find(&version).is_none() {
                return Ok(Some(Problem::not_found().detail("the project has no such release")));
            }
            let is_first = read_issues::issue_of_first_release(connection, project, &version)?.is_some();
            let reason = if is_first {
                "an issue was first seen in this release"
            } else if read_issues::has_sessions(connection, project, &version)? {
                "the release has sessions"
            } else {
                return Ok(None);
            };
            let title = "The release is in use";
            Ok(Some(Problem::new(StatusCode::CONFLICT, "release-in-use", title).detail(reason)))
        })
    })
    .await?;
    if let Some(refusal) = refusal {
        return Err(refusal);
    }
    let action = OperatorAction { by, action: Action::DeleteRelease { project, release } };
    own_items::store(&query, OPERATOR_ACTION, &[action], "an operator's action").await?;
    query.index.caught_up().await;
    tracing::info!("an operator deleted a release");
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn command(body: Value) -> Result<Command, String> {
        let update: Update = serde_json::from_value(body).map_err(|error| error.to_string())?;
        update.command(1_000.0)
    }

    #[test]
    fn changes_are_written_as_for_sentry() {
        for (body, expected) in [
            (json!({"status": "resolved"}), Command::Resolve(How::Now)),
            (json!({"status": "resolvedInNextRelease"}), Command::Resolve(How::InNextRelease)),
            (
                json!({"status": "resolved", "statusDetails": {"inNextRelease": true}}),
                Command::Resolve(How::InNextRelease),
            ),
            (
                json!({"status": "resolved", "statusDetails": {"inRelease": "g@1"}, "by": "anna"}),
                Command::Resolve(How::InRelease("g@1".to_owned())),
            ),
            (
                json!({"status": "resolved", "statusDetails": {"inCommit": {"commit": "423D6BE"}}}),
                Command::Resolve(How::InCommit("423d6be".to_owned())),
            ),
            (json!({"status": "unresolved"}), Command::Reopen),
            (json!({"status": "ignored"}), Command::Archive(Until::Forever)),
            (
                json!({"status": "ignored", "statusDetails": {"ignoreCount": 5},
                    "substatus": "archived_until_condition_met"}),
                Command::Archive(Until::Events(5)),
            ),
            (
                json!({"status": "ignored", "substatus": "archived_until_escalating"}),
                Command::Archive(Until::Escalating),
            ),
            (
                json!({"status": "ignored", "statusDetails": {"ignoreDuration": 2}}),
                Command::Archive(Until::Time(1_120.0)),
            ),
        ] {
            assert_eq!(command(body.clone()), Ok(expected), "{body}");
        }
    }

    #[test]
    fn contradictions_and_unknown_members_are_refused() {
        for (body, reason) in [
            (json!({"status": "fixed"}), "unknown variant"),
            (json!({"status": "resolved", "assignedTo": "anna"}), "unknown field"),
            (json!({"status": "resolved", "statusDetails": {"inCommit": {}}}), "missing field"),
            (json!({"status": "resolved", "statusDetails": {"inCommit": {"commit": "main"}}}), "hexadecimal"),
            (
                json!({"status": "ignored", "statusDetails": {"inCommit": {"commit": "423d6be"}}}),
                "need the status",
            ),
            (
                json!({"status": "resolved",
                    "statusDetails": {"inCommit": {"commit": "423d6be"}, "inRelease": "g@1"}}),
                "inCommit excludes",
            ),
            (
                json!({"status": "resolved", "statusDetails": {"inRelease": "g@1", "inNextRelease": true}}),
                "exclude each other",
            ),
            (json!({"status": "unresolved", "statusDetails": {"inRelease": "g@1"}}), "need the status"),
            (json!({"status": "resolved", "statusDetails": {"ignoreCount": 5}}), "need the status"),
            (json!({"status": "ignored", "statusDetails": {"ignoreCount": 0}}), "from 1 to"),
            (json!({"status": "ignored", "statusDetails": {"ignoreDuration": 525_601}}), "from 1 to"),
            (
                json!({"status": "ignored", "substatus": "archived_until_escalating",
                    "statusDetails": {"ignoreDuration": 2}}),
                "has no other condition",
            ),
            (json!({"status": "ignored", "substatus": "archived_until_condition_met"}), "needs ignoreCount"),
            (
                json!({"status": "ignored", "substatus": "archived_forever",
                    "statusDetails": {"ignoreCount": 5}}),
                "has no condition",
            ),
        ] {
            let refusal = command(body.clone()).expect_err("refused");
            assert!(refusal.contains(reason), "{body}: {refusal}");
        }
    }

    #[test]
    fn author_is_short_text() {
        assert!(check_author("anna").is_ok() && check_author(&"ä".repeat(100)).is_ok());
        for by in ["", "a\nb", &"a".repeat(101)] {
            assert!(check_author(by).is_err(), "{by:?}");
        }
    }
}
