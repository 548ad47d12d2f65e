//! `drill release-order`: what Sentry decides when an event arrives on a resolved issue, for releases whose order surprises.
//!
//! Each row of [`table`] has a project of its own in a recorder of its own ([`recorder`]), because a verdict depends on every release
//! that its project has ever sent. The envelopes, the requests and the recorder's program are those of a real platform.

mod recorder;
mod table;

use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail};
use runtime::Layout;
use serde::Serialize;
use serde_json::{Value, json};

use super::person::Person;
use recorder::OwnRecorder;
use table::{How, Row};

/// Name on the command line.
pub(crate) const NAME: &str = "release-order";
/// Title in lists.
pub(crate) const TITLE: &str = "Releases whose order surprises, each with the verdict of Sentry";

/// Minutes between the first event of an issue and the later ones. Events within 5 s would be no regression.
const EARLIER_MINUTES: f64 = 30.0;

/// Result of the drill.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct OrderSummary {
    scenario: &'static str,
    title: &'static str,
    /// The drill came to its end.
    complete: bool,
    drills: Vec<Outcome>,
}

/// Result of one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Outcome {
    name: &'static str,
    /// Releases in the order in which they arrived.
    releases: Vec<&'static str>,
    resolved: String,
    /// Release of the event. Null for an event without one.
    event: Option<&'static str>,
    expected: &'static str,
    seen: &'static str,
    /// Reason that the recorder gave.
    why: String,
    holds: bool,
}

impl OrderSummary {
    /// Returns true if every verdict is the one that Sentry gives.
    pub(crate) fn holds(&self) -> bool {
        self.complete && !self.drills.is_empty() && self.drills.iter().all(|drill| drill.holds)
    }

    /// The summary as Markdown.
    pub(crate) fn markdown(&self) -> String {
        let Self { scenario, title, complete, drills } = self;
        let end = if *complete { "It came to its end." } else { "**It was interrupted.**" };
        let mut text = format!("## Drill `{scenario}`: {title}\n\n{end}\n\n");
        text.push_str("| drill | releases | resolved | event of | expected | seen | why |\n");
        text.push_str("|---|---|---|---|---|---|---|\n");
        for drill in drills {
            let releases = drill.releases.join(", ");
            let event = drill.event.unwrap_or("no release");
            let seen = if drill.holds { drill.seen.to_owned() } else { format!("**{}**", drill.seen) };
            let Outcome { name, resolved, expected, why, .. } = drill;
            let _always_ok = writeln!(
                text,
                "| {name} | `{releases}` | {resolved} | `{event}` | {expected} | {seen} | {why} |"
            );
        }
        text
    }
}

/// Plays every row, and writes the outcomes into `summary`, also before an error.
pub(crate) async fn run(layout: &Layout, person: &mut impl Person, summary: &mut OrderSummary) -> Result<()> {
    summary.scenario = NAME;
    summary.title = TITLE;
    let rows = table::rows();
    person.tell(
        "Each drill resolves an issue and then sends an event of another release. The recorder decides as Sentry does. Its pages \
         are there until the drill ends.",
    );
    person.begin("recorder");
    let names: Vec<String> = (1..=rows.len()).map(|number| format!("drill-{number}")).collect();
    let recorder = OwnRecorder::start(layout, &names).await?;
    person.end(recorder.pages());
    for (row, project) in rows.iter().zip(&names) {
        person.begin("drill");
        let outcome = play(row, &recorder, project).await.with_context(|| format!("drill: {}", row.name))?;
        person.end(&format!("{}: {} ({})", row.name, outcome.seen, outcome.why));
        summary.drills.push(outcome);
    }
    if person.waits() {
        person.tell(&format!("Look at {}/issues", recorder.pages()));
        person.go_on().await?;
    }
    recorder.end().await;
    summary.complete = true;
    Ok(())
}

/// Plays one row in its project.
async fn play(row: &Row, recorder: &OwnRecorder, project: &str) -> Result<Outcome> {
    let Some((first, others)) = row.releases.split_first() else { bail!("the row has no release") };
    recorder.event(project, Some(first), -EARLIER_MINUTES).await?;
    for release in others {
        recorder.name_release(project, release).await?;
    }
    let id = the_issue(recorder, project).await?["id"].as_str().context("the issue has no id")?.to_owned();
    let resolved = recorder.change(&id, &row.how.body()).await?;
    if resolved["status"] != "resolved" {
        bail!("the issue is not resolved: {resolved}");
    }
    if let Some(release) = row.deleted {
        recorder.delete_release(project, release).await?;
    }
    for release in row.then {
        recorder.name_release(project, release).await?;
    }
    let before = recorder.issue(&id).await?;
    recorder.event(project, row.event, 0.0).await?;
    let after = recorder.issue(&id).await?;
    if after["count"] != 2 {
        bail!("the event does not belong to the issue: {after}");
    }
    Ok(outcome(row, &before, &after))
}

async fn the_issue(recorder: &OwnRecorder, project: &str) -> Result<Value> {
    let mut issues = recorder.issues(project).await?;
    match (issues.pop(), issues.len()) {
        (Some(issue), 0) => Ok(issue),
        (_, more) => bail!("{more} other issues than the one of the drill"),
    }
}

/// Compares the verdict with the expected one. The reason is that of the activity, or for a resolved issue that of the outlook.
fn outcome(row: &Row, before: &Value, after: &Value) -> Outcome {
    let regressed = after["status"] == "unresolved" && after["substatus"] == "regressed";
    let seen = match (regressed, after["status"].as_str()) {
        (true, _) => REGRESSES,
        (false, Some("resolved")) => STAYS,
        _ => "another state",
    };
    let expected = if row.regresses { REGRESSES } else { STAYS };
    let last = after["activity"].as_array().and_then(|activity| activity.last());
    let mut outlook = before["outlook"].as_array().into_iter().flatten();
    let verdict = outlook.find(|verdict| verdict["release"].as_str() == row.event);
    let why = match (regressed, row.event) {
        (true, _) => last.and_then(|entry| entry["why"].as_str()),
        (false, None) => Some("the event names no release"),
        (false, Some(_)) => verdict.and_then(|verdict| verdict["why"].as_str()),
    };
    let why = why.unwrap_or("no reason was given");
    // The reason of the verdict does not say it, because the issue keeps nothing of the release.
    let why = row.deleted.map_or_else(
        || why.to_owned(),
        |deleted| format!("{deleted}, in which it was resolved, was deleted; now {why}"),
    );
    let mut releases = row.releases.to_vec();
    releases.extend(row.then);
    Outcome {
        name: row.name,
        releases,
        resolved: row.resolved(),
        event: row.event,
        expected,
        seen,
        holds: seen == expected,
        why,
    }
}

/// Verdicts in words.
const REGRESSES: &str = "regresses";
const STAYS: &str = "stays resolved";

impl How {
    /// The body of the change, in the form of Sentry's API.
    fn body(self) -> Value {
        let mut body = match self {
            Self::Now => json!({ "status": "resolved" }),
            Self::InRelease(release) => {
                json!({ "status": "resolved", "statusDetails": { "inRelease": release } })
            }
            Self::InNextRelease => {
                json!({ "status": "resolved", "statusDetails": { "inNextRelease": true } })
            }
        };
        body["by"] = "drill".into();
        body
    }
}

impl Row {
    fn resolved(&self) -> String {
        let how = match self.how {
            How::Now => "without a release".to_owned(),
            How::InRelease(release) => format!("in `{release}`"),
            How::InNextRelease => "in the next release".to_owned(),
        };
        match self.deleted {
            Some(_) => format!("{how}, which is deleted"),
            None => how,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issue(status: &str, substatus: Value) -> Value {
        json!({
            "status": status, "substatus": substatus, "count": 2,
            "activity": [{ "why": "first" }, { "why": "it is later" }],
            "outlook": [{ "release": "g@1.0-rc10", "why": "it is older" }],
        })
    }

    #[test]
    fn verdict_is_compared_with_that_of_sentry() {
        let rows = table::rows();
        let row = rows.iter().find(|row| row.event == Some("g@1.0-rc10")).unwrap();
        assert!(!row.regresses);
        let before = issue("resolved", Value::Null);
        let right = outcome(row, &before, &before);
        assert_eq!((right.seen, right.why.as_str(), right.holds), (STAYS, "it is older", true));
        let wrong = outcome(row, &before, &issue("unresolved", "regressed".into()));
        assert_eq!((wrong.seen, wrong.why.as_str(), wrong.holds), (REGRESSES, "it is later", false));
        let other = outcome(row, &before, &issue("ignored", Value::Null));
        assert_eq!((other.seen, other.holds), ("another state", false));

        let summary = |drills| OrderSummary { complete: true, drills, ..OrderSummary::default() };
        assert!(summary(vec![right.clone()]).holds());
        assert!(!summary(vec![right, wrong.clone()]).holds());
        assert!(!summary(Vec::new()).holds(), "nothing was played");
        assert!(summary(vec![wrong]).markdown().contains("**regresses**"));
    }
}
