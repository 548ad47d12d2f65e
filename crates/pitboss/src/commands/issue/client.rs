//! Requests to the recorder about issues.

use anyhow::{Context as _, Result, bail};
use reqwest::{RequestBuilder, Response, StatusCode, Url};
use serde_json::Value;

use crate::commands::Context;
use crate::target::{Target, TargetArgs, silent_recorder};

/// Length of a whole id.
const ID_DIGITS: usize = 32;

/// The recorder of a platform.
pub(super) struct Client {
    target: Target,
}

impl Client {
    pub(super) async fn of(args: &TargetArgs, context: &Context) -> Result<Self> {
        Ok(Self { target: context.target(args).await? })
    }

    /// Address of the recorder's pages, without a slash at the end.
    pub(super) fn pages(&self) -> &str {
        &self.target.recorder_url
    }

    /// Fetches the issues of a service, or all, the most recent first.
    pub(super) async fn list(&self, project: Option<&str>) -> Result<Vec<Value>> {
        let url = format!("{}/api/v1/issues", self.target.recorder_url);
        let parameters = project.map(|project| ("project", project));
        let url =
            Url::parse_with_params(&url, parameters).with_context(|| format!("`{url}` is not a URL"))?;
        let answer = self.checked(self.target.http().get(url)).await?.text().await?;
        let lines = answer.lines().map(serde_json::from_str::<Value>);
        lines.collect::<Result<Vec<Value>, _>>().context("the recorder's answer is not a list of issues")
    }

    /// Fetches one issue by its whole id.
    pub(super) async fn one(&self, id: &str) -> Result<Value> {
        let answer = self.checked(self.target.http().get(self.url_of(id))).await?;
        answer.json().await.context("the recorder's answer is not an issue")
    }

    /// Changes an issue and returns it.
    pub(super) async fn change(&self, id: &str, body: &Value) -> Result<Value> {
        let Some(token) = &self.target.operator_token else {
            bail!("this checkout does not have the operator's token of the platform");
        };
        let request = self.target.http().put(self.url_of(id)).header("x-operator-token", token).json(body);
        self.checked(request).await?.json().await.context("the recorder's answer is not an issue")
    }

    /// Returns the id that begins with this text. Hyphens and capital letters do not matter.
    pub(super) async fn full_id(&self, given: &str) -> Result<String> {
        let beginning = given.replace('-', "").to_ascii_lowercase();
        let is_hex = beginning.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex || beginning.is_empty() || beginning.len() > ID_DIGITS {
            bail!("`{given}` is not the id of an issue: ./pitboss issue list --status all shows the ids");
        }
        if beginning.len() == ID_DIGITS {
            return Ok(beginning);
        }
        let issues = self.list(None).await?;
        the_one(&beginning, issues.iter().filter_map(|issue| issue["id"].as_str()))
    }

    fn url_of(&self, id: &str) -> String {
        format!("{}/api/v1/issues/{id}", self.target.recorder_url)
    }

    /// Sends a request. An answer that is no success becomes an error with the recorder's reason.
    async fn checked(&self, request: RequestBuilder) -> Result<Response> {
        let answer = request.send().await.map_err(|error| silent_recorder(self.pages(), error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        if status == StatusCode::NOT_FOUND {
            bail!("there is no such issue: ./pitboss issue list --status all shows the ids");
        }
        let problem: Value = answer.json().await.unwrap_or_default();
        let reason = problem["detail"].as_str().or(problem["title"].as_str()).unwrap_or("it gave no reason");
        bail!("the recorder refused with {status}: {reason}")
    }
}

/// Returns the only id that begins with this text.
fn the_one<'a>(beginning: &str, ids: impl Iterator<Item = &'a str>) -> Result<String> {
    let found: Vec<&str> = ids.filter(|id| id.starts_with(beginning)).collect();
    match found.as_slice() {
        [id] => Ok((*id).to_owned()),
        [] => bail!("there is no issue {beginning}: ./pitboss issue list --status all shows the ids"),
        several => bail!("{} issues begin with {beginning}: give more of the id", several.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginning_of_an_id_is_enough_if_it_is_the_only_one() {
        let ids = ["abcd", "abce", "ffff"];
        let of = |beginning: &str| the_one(beginning, ids.into_iter()).map_err(|error| error.to_string());
        assert_eq!(of("f"), Ok("ffff".to_owned()));
        assert!(of("abc").unwrap_err().contains("2 issues begin with abc"));
        assert!(of("1").unwrap_err().contains("there is no issue 1"));
    }
}
