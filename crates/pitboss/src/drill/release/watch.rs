//! Work until the recorder shows what a release does: its issues, its errors, its health.

use std::time::Duration;

use anyhow::Result;
use contracts::Ports;
use serde_json::Value;
use tokio::time::Instant;

use super::issues::{is_news, of_release};
use super::{Drill, SERVICE, Step, summary::joined};
use crate::drill::person::Person;
use crate::drill::stage::Stage as _;
use crate::release::health::{Facts, Issue, ReleaseFacts};
use crate::target::Target;

/// Time for a release to show everything. The sums of sessions are sent once a minute.
const SHOWN_WITHIN: Duration = Duration::from_secs(180);
/// Error events of a canary that are a spike beside a release without any.
const SPIKE_ERRORS: u64 = 6;
/// Reads of the page of figures in a round, of each instance.
const READS: usize = 10;

/// What a canary has to show, beside the release before.
#[derive(Clone, Debug, Default)]
struct Shown {
    /// Issues that are news of the release.
    issues: Vec<Issue>,
    canary: ReleaseFacts,
    before: ReleaseFacts,
}

impl Shown {
    fn of(facts: &Facts, release: &str, own: &str) -> Self {
        let news = of_release(facts, release).filter(|issue| is_news(issue, release));
        Self { issues: news.cloned().collect(), canary: facts.of(release), before: facts.of(own) }
    }

    fn has_spike(&self) -> bool {
        self.canary.errors >= SPIKE_ERRORS
    }

    /// Returns true if more of its sessions have crashed than of those of the release before.
    fn is_less_healthy(&self) -> bool {
        let (canary, before) = (self.canary.crash_free_sessions, self.before.crash_free_sessions);
        canary.zip(before).is_some_and(|(canary, before)| canary < before)
    }

    fn is_complete(&self) -> bool {
        !self.issues.is_empty() && self.has_spike() && self.is_less_healthy()
    }
}

impl<P: Person> Drill<'_, '_, P> {
    /// Works until the canary has shown an issue, an error spike and a lower crash-free rate. Returns the ids of its issues.
    pub(super) async fn watch_first(&mut self, release: &str) -> Result<Vec<String>> {
        let own = self.operator.own_release().to_owned();
        let errors_before = Facts::read(self.target, SERVICE).await?.of(&own).errors;
        let (began, mut shown) = (Instant::now(), Shown::default());
        self.person.begin("watching");
        while !shown.is_complete() && began.elapsed() < SHOWN_WITHIN {
            self.work().await?;
            shown = Shown::of(&Facts::read(self.target, SERVICE).await?, release, &own);
            let (issues, errors, sessions) =
                (shown.issues.len(), shown.canary.errors, shown.canary.sessions_crashed);
            let state = format!("{issues} issues, {errors} errors, {sessions} sessions crashed");
            self.person.live(&state);
        }
        self.person.end(&format!("after {:.0} s", began.elapsed().as_secs_f64()));
        for step in steps_of(&shown, release, errors_before, |path| self.platform.page_address(path)) {
            self.note(step).await?;
        }
        Ok(shown.issues.into_iter().map(|issue| issue.id).collect())
    }

    /// Works after the rollback, and checks that no further error of the release arrives.
    pub(super) async fn watch_silence(&mut self, release: &str) -> Result<()> {
        self.person.begin("load");
        let errors = |facts: &Facts| facts.of(release).errors;
        let before = errors(&Facts::read(self.target, SERVICE).await?);
        self.work().await?;
        let after = errors(&Facts::read(self.target, SERVICE).await?);
        let seen = format!("{} further errors", after.saturating_sub(before));
        self.person.end(&seen);
        self.note(Step {
            name: "work after the rollback".to_owned(),
            expected: format!("no further error of {release}"),
            holds: after == before,
            seen,
            pages: Vec::new(),
        })
        .await
    }

    /// Works until the release after has opened the resolved issues again.
    pub(super) async fn watch_regression(&mut self, ids: &[String], release: &str) -> Result<()> {
        let (began, mut reasons) = (Instant::now(), Vec::new());
        self.person.begin("watching");
        while reasons.len() < ids.len() && began.elapsed() < SHOWN_WITHIN {
            self.work().await?;
            reasons.clear();
            for id in ids {
                reasons.extend(regression(&self.request(id, None).await?, release));
            }
            self.person.live(&format!("{} of {} issues regressed", reasons.len(), ids.len()));
        }
        self.person.end(&format!("after {:.0} s", began.elapsed().as_secs_f64()));
        let pages = ids.iter().map(|id| self.platform.page_address(&format!("issues/{id}"))).collect();
        self.note(Step {
            name: format!("{release} has the defect again"),
            expected: "every resolved issue regresses".to_owned(),
            holds: !ids.is_empty() && reasons.len() == ids.len(),
            seen: if reasons.is_empty() { "no issue regressed".to_owned() } else { joined(&reasons) },
            pages,
        })
        .await
    }
}

/// The steps of a watch.
fn steps_of(shown: &Shown, release: &str, errors_before: u64, page: impl Fn(&str) -> String) -> Vec<Step> {
    let Shown { issues, canary, before } = shown;
    let named = |issue: &Issue| {
        let is_new = issue.first_release.as_deref() == Some(release);
        let what = if is_new { "began with it" } else { "was known, and regressed" };
        format!("{} {what}", issue.id.get(..8).unwrap_or(&issue.id))
    };
    let news: Vec<String> = issues.iter().map(named).collect();
    let others = before.errors.saturating_sub(errors_before);
    let percent =
        |share: Option<f64>| share.map_or("–".to_owned(), |share| format!("{:.1} %", share * 100.0));
    vec![
        Step {
            name: format!("issue of {release}"),
            expected:
                "an issue that is new in this release (or regressed, if an earlier drill left it resolved)"
                    .to_owned(),
            holds: !issues.is_empty(),
            seen: if news.is_empty() { "no issue".to_owned() } else { news.join("; ") },
            pages: issues.iter().map(|issue| page(&format!("issues/{}", issue.id))).collect(),
        },
        Step {
            name: "error spike".to_owned(),
            expected: format!("at least {SPIKE_ERRORS} errors of the canary, fewer of the release before"),
            holds: shown.has_spike() && others < canary.errors,
            seen: format!("{} of the canary, {others} of the release before", canary.errors),
            pages: Vec::new(),
        },
        Step {
            name: "crash-free sessions".to_owned(),
            expected: "fewer than of the release before".to_owned(),
            holds: shown.is_less_healthy(),
            seen: format!(
                "{} of {} sessions, {} before; adoption {}",
                percent(canary.crash_free_sessions),
                canary.sessions,
                percent(before.crash_free_sessions),
                percent(canary.adoption)
            ),
            pages: vec![page("releases")],
        },
    ]
}

/// The reason why an issue regressed in a release, if it did.
fn regression(issue: &Value, release: &str) -> Option<String> {
    let activity = issue["activity"].as_array()?;
    let is_it = |entry: &&Value| entry["type"] == "set_regression" && entry["version"] == release;
    let entry = activity.iter().rev().find(is_it)?;
    (issue["status"] == "unresolved").then(|| entry["why"].as_str().unwrap_or_default().to_owned())
}

/// Reads the page of figures at the first instance and at the canary, as the operators' page does. A defect answers with an error,
/// which is what is measured.
pub(super) async fn read_figures(target: &Target, ports: Ports) {
    let canary = ports.further(SERVICE, 0).map(|(http, _)| http);
    let Some(token) = &target.internal_token else { return };
    for port in [Some(ports.http(SERVICE)), canary].into_iter().flatten() {
        let url = format!("http://127.0.0.1:{port}/api/v1/summary");
        for _ in 0..READS {
            let request = target.http().get(&url).header("x-internal-token", token);
            // Nobody listens at the port of a canary that does not run.
            let Ok(answer) = request.send().await else { break };
            drop(answer.bytes().await);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(errors: u64, crash_free: Option<f64>) -> Shown {
        let facts = |errors, crash_free_sessions| ReleaseFacts {
            errors,
            crash_free_sessions,
            ..ReleaseFacts::default()
        };
        let issues = vec![Issue { id: "0123456789".to_owned(), ..Issue::default() }];
        Shown { issues, canary: facts(errors, crash_free), before: facts(2, Some(1.0)) }
    }

    #[test]
    fn watch_ends_when_everything_was_shown() {
        assert!(shown(SPIKE_ERRORS, Some(0.4)).is_complete());
        assert!(!shown(SPIKE_ERRORS - 1, Some(0.4)).is_complete(), "too few errors");
        assert!(!shown(SPIKE_ERRORS, None).is_complete(), "no session yet");
        assert!(!shown(SPIKE_ERRORS, Some(1.0)).is_complete(), "no session crashed");
        let nothing = Shown { issues: Vec::new(), ..shown(SPIKE_ERRORS, Some(0.4)) };
        assert!(!nothing.is_complete(), "no issue");
    }

    #[test]
    fn steps_compare_with_the_release_before() {
        let all = |shown: &Shown| steps_of(shown, "b", 2, |path| format!("http://r/{path}"));
        let steps = all(&shown(9, Some(0.4)));
        assert!(steps.iter().all(|step| step.holds), "{steps:?}");
        assert_eq!(steps[0].seen, "01234567 was known, and regressed");
        assert_eq!(steps[0].pages, ["http://r/issues/0123456789"]);
        assert_eq!(steps[1].seen, "9 of the canary, 0 of the release before");
        assert!(steps[2].seen.starts_with("40.0 % of 0 sessions, 100.0 % before"), "{steps:?}");
        let steps = all(&Shown { issues: Vec::new(), ..shown(1, None) });
        assert!(steps.iter().all(|step| !step.holds), "{steps:?}");
    }

    #[test]
    fn regression_is_that_of_the_release() {
        let issue = |status: &str| {
            json!({
                "status": status,
                "activity": [
                    { "type": "set_regression", "version": "a", "why": "earlier" },
                    { "type": "set_regression", "version": "b", "why": "it is later" },
                ],
            })
        };
        assert_eq!(regression(&issue("unresolved"), "b").as_deref(), Some("it is later"));
        assert_eq!(regression(&issue("unresolved"), "c"), None);
        assert_eq!(regression(&issue("resolved"), "b"), None, "it was resolved since");
    }
}
