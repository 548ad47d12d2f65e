//! Date and commits of a release, which an operator says.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use chassis::{http::RawBody, problem::Problem};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    admin::authorise,
    own_items,
    state::{Query, unknown_project},
    triage::{check_author, commit_id, operator},
};
use crate::{
    domain::is_release_name,
    protocol::actions::{Action, OPERATOR_ACTION, OperatorAction},
};

/// Largest number of commits of one request.
const COMMITS_MAX: usize = 1_000;

/// Body of the request, in the form of Sentry's API. A member that it does not know is refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Body {
    project: String,
    version: String,
    date_released: Option<String>,
    #[serde(default)]
    commits: Vec<Commit>,
    #[serde(default = "operator")]
    by: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Commit {
    id: String,
}

/// `PUT /api/v1/releases`: gives a release its date and its commits, and makes it known if it is not yet.
pub(super) async fn set_release(
    State(query): State<Query>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result<Response, Problem> {
    authorise(&query, &headers)?;
    let body: Body =
        serde_json::from_slice(&body).map_err(|error| Problem::bad_request(error.to_string()))?;
    check_author(&body.by)?;
    let project = query.projects.find(&body.project).ok_or_else(|| unknown_project(&query, &body.project))?;
    let released_us = body.released_us().map_err(Problem::bad_request)?;
    let commits = body.commits().map_err(Problem::bad_request)?;
    body.check_version().map_err(Problem::bad_request)?;
    let action = Action::SetRelease { project, release: body.version, released_us, commits };
    let action = OperatorAction { by: body.by, action };
    own_items::store(&query, OPERATOR_ACTION, &[action], "an operator's action").await?;
    query.index.caught_up().await;
    tracing::info!("an operator set the date or the commits of a release");
    Ok(StatusCode::NO_CONTENT.into_response())
}

impl Body {
    fn check_version(&self) -> Result<(), String> {
        let version = self.version.as_str();
        let is_valid = !version.is_empty() && version.trim() == version && is_release_name(version);
        let refusal =
            "version must be a name of at most 200 bytes without slashes, and none of latest, . and ..";
        is_valid.then_some(()).ok_or_else(|| refusal.to_owned())
    }

    fn released_us(&self) -> Result<Option<u64>, String> {
        let Some(text) = &self.date_released else { return Ok(None) };
        let date = OffsetDateTime::parse(text, &Rfc3339).ok();
        let micros = date.and_then(|date| u64::try_from(date.unix_timestamp_nanos() / 1_000).ok());
        let refusal = || "dateReleased must be a time since 1970 such as 2026-11-30T12:00:00Z".to_owned();
        micros.map(Some).ok_or_else(refusal)
    }

    fn commits(&self) -> Result<Vec<String>, String> {
        if self.commits.len() > COMMITS_MAX {
            return Err(format!("a request may have {COMMITS_MAX} commits"));
        }
        self.commits.iter().map(|commit| commit_id(&commit.id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What a body says: date and commits, or why it is refused.
    fn read(more: Value) -> Result<(Option<u64>, Vec<String>), String> {
        let mut body = json!({"project": "game", "version": "g@1"});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let body: Body = serde_json::from_value(body).map_err(|error| error.to_string())?;
        body.check_version()?;
        Ok((body.released_us()?, body.commits()?))
    }

    #[test]
    fn date_and_commits_are_read() {
        assert_eq!(read(json!({})), Ok((None, Vec::new())));
        let with_date = read(json!({"dateReleased": "1970-01-01T01:00:00.5+01:00"}));
        assert_eq!(with_date, Ok((Some(500_000), Vec::new())));
        let with_commit = read(json!({"commits": [{"id": "423D6be"}], "dateReleased": null}));
        assert_eq!(with_commit, Ok((None, vec!["423d6be".to_owned()])));
    }

    #[test]
    fn what_is_no_release_is_refused() {
        for (more, reason) in [
            (json!({"dateReleased": "yesterday"}), "dateReleased"),
            (json!({"dateReleased": "1969-12-31T00:00:00Z"}), "since 1970"),
            (json!({"version": ""}), "version"),
            (json!({"version": "latest"}), "version"),
            (json!({"version": "a/b"}), "version"),
            (json!({"version": "a\nb"}), "version"),
            (json!({"commits": [{"id": "HEAD"}]}), "hexadecimal"),
            (json!({"commits": vec![json!({"id": "423d6be"}); COMMITS_MAX + 1]}), "1000 commits"),
            (json!({"refs": []}), "unknown field"),
        ] {
            let refusal = read(more.clone()).expect_err("refused");
            assert!(refusal.contains(reason), "{more}: {refusal}");
        }
    }
}
