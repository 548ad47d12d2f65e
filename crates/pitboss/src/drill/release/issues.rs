//! The issues of the defect: found by their text, resolved, and read again with the reason of each change.

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::{Drill, SERVICE, Step, summary::joined};
use crate::drill::person::Person;
use crate::drill::stage::Stage as _;
use crate::release::health::{Facts, Issue};
use crate::target::silent_recorder;

/// Text of the panic that only the regression has.
const DEFECT: &str = "a payout has eight bits";
/// Text of the report about a record that was parked because of panics.
const PARKED: &str = "the handler panicked";

/// Returns true if the error of an issue has this text.
fn says(issue: &Issue, text: &str) -> bool {
    issue.value.as_deref().unwrap_or(&issue.title).contains(text)
}

/// Returns true for an issue of the defect: of its panics, or of the records that were parked because of them.
fn is_of_defect(issue: &Issue) -> bool {
    says(issue, DEFECT) || says(issue, PARKED)
}

/// Unresolved issues of the defect of earlier drills.
///
/// Another panic parks records with the same report. Such an issue is of the defect only if it began with a release that had it.
fn leftovers(facts: &Facts) -> Vec<&Issue> {
    let defects = || facts.issues.iter().filter(|issue| says(issue, DEFECT));
    let had_it = |release: &str| defects().any(|issue| issue.releases.iter().any(|known| known == release));
    let is_left = |issue: &&Issue| {
        let began_with_it = issue.first_release.as_deref().is_some_and(had_it);
        issue.status == "unresolved" && (says(issue, DEFECT) || (says(issue, PARKED) && began_with_it))
    };
    facts.issues.iter().filter(is_left).collect()
}

/// The change that resolves an issue in the next release.
fn in_next_release() -> Value {
    json!({ "status": "resolved", "statusDetails": { "inNextRelease": true }, "by": "drill" })
}

/// Issues of the defect in a release.
pub(super) fn of_release<'f>(facts: &'f Facts, release: &'f str) -> impl Iterator<Item = &'f Issue> {
    let is_of =
        move |issue: &&Issue| is_of_defect(issue) && issue.releases.iter().any(|known| known == release);
    facts.issues.iter().filter(is_of)
}

/// Returns true if an issue is the news of a release: it began with it, or was resolved and has come back.
pub(super) fn is_news(issue: &Issue, release: &str) -> bool {
    let is_new = issue.first_release.as_deref() == Some(release);
    issue.status == "unresolved" && (is_new || issue.substatus.as_deref() == Some("regressed"))
}

impl<P: Person> Drill<'_, '_, P> {
    /// Resolves the issues in the next release, which leaves them resolved for the present one.
    pub(super) async fn resolve(&mut self, ids: &[String], release: &str) -> Result<()> {
        self.person.begin("resolve");
        let body = in_next_release();
        let mut seen = Vec::new();
        let mut holds = !ids.is_empty();
        for id in ids {
            let issue = self.request(id, Some(&body)).await?;
            let mut outlook = issue["outlook"].as_array().into_iter().flatten();
            let verdict = outlook.find(|verdict| verdict["release"] == release);
            let covers = verdict.is_some_and(|verdict| verdict["regresses"] == false);
            holds = holds && issue["status"] == "resolved" && covers;
            let why = verdict.and_then(|verdict| verdict["why"].as_str()).unwrap_or("no verdict");
            let status = issue["status"].as_str().unwrap_or("no status");
            let verb = if covers { "leaves it so" } else { "opens it again" };
            seen.push(format!("{status}, and an event of {release} {verb}: {why}"));
        }
        let seen = if seen.is_empty() { "there is no issue".to_owned() } else { joined(&seen) };
        self.person.end(&seen);
        let pages = ids.iter().map(|id| self.platform.page_address(&format!("issues/{id}"))).collect();
        self.note(Step {
            name: "resolve in the next release".to_owned(),
            expected: format!("resolved, and {release} again would leave it so"),
            holds,
            seen,
            pages,
        })
        .await
    }

    /// Resolves what a drill that was interrupted left open. Otherwise the first release would have no news.
    pub(super) async fn resolve_leftovers(&self) -> Result<()> {
        let facts = Facts::read(self.target, SERVICE).await?;
        for issue in leftovers(&facts) {
            self.request(&issue.id, Some(&in_next_release())).await?;
        }
        Ok(())
    }

    /// Reads an issue with its activity, or changes it.
    pub(super) async fn request(&self, id: &str, change: Option<&Value>) -> Result<Value> {
        let url = format!("{}/api/v1/issues/{id}", self.target.recorder_url);
        let request = match change {
            None => self.target.http().get(url),
            Some(body) => {
                let token = self.target.operator_token.as_ref();
                let token = token.context("this checkout does not have the operator's token")?;
                self.target.http().put(url).header("x-operator-token", token).json(body)
            }
        };
        let answer = request.send().await;
        let answer = answer.map_err(|error| silent_recorder(&self.target.recorder_url, error))?;
        if !answer.status().is_success() {
            bail!("the recorder answered {} to a request about an issue of {SERVICE}", answer.status());
        }
        answer.json().await.context("the recorder's answer is not an issue")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issue(value: &str, first_release: &str, status: &str, substatus: &str) -> Issue {
        Issue {
            id: value.to_owned(),
            value: Some(value.to_owned()),
            status: status.to_owned(),
            substatus: Some(substatus.to_owned()),
            first_release: Some(first_release.to_owned()),
            releases: vec!["b".to_owned()],
            ..Issue::default()
        }
    }

    #[test]
    fn only_issues_of_the_defect_are_meant() {
        let panic = format!("{DEFECT}: TryFromIntError(())");
        let texts = [panic.as_str(), "the handler panicked 3 times", "other"];
        let issues = texts.map(|text| issue(text, "b", "unresolved", "new")).to_vec();
        let facts = Facts { issues, ..Facts::default() };
        assert_eq!(of_release(&facts, "b").count(), 2);
        assert_eq!(of_release(&facts, "c").count(), 0, "it was not seen in that release");
    }

    #[test]
    fn only_issues_of_earlier_drills_are_left_over() {
        let parked = "the handler panicked 3 times";
        let of = |release: &str, text: &str, status: &str| Issue {
            releases: vec![release.to_owned()],
            ..issue(text, release, status, "new")
        };
        let issues = vec![
            of("b", DEFECT, "unresolved"),
            of("b", parked, "unresolved"),
            of("a", parked, "unresolved"),
            of("b", "other", "unresolved"),
            of("b", parked, "resolved"),
        ];
        let facts = Facts { issues, ..Facts::default() };
        let left: Vec<(&str, &[String])> =
            leftovers(&facts).iter().map(|issue| (issue.id.as_str(), issue.releases.as_slice())).collect();
        let b = ["b".to_owned()];
        assert_eq!(left, [(DEFECT, &b[..]), (parked, &b[..])], "release a had another panic");
    }

    #[test]
    fn issue_is_news_if_it_began_or_came_back() {
        for (first_release, status, substatus, expected) in [
            ("b", "unresolved", "new", true),
            ("a", "unresolved", "regressed", true),
            ("a", "unresolved", "ongoing", false),
            ("b", "resolved", "", false),
        ] {
            let issue = issue("x", first_release, status, substatus);
            assert_eq!(is_news(&issue, "b"), expected, "{issue:?}");
        }
    }
}
