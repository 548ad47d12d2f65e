//! What the recorder knows of the releases of a service: health, adoption, errors, and the issues that began with each.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use contracts::Part;
use reqwest::Url;
use serde::{Deserialize, Serialize};

use crate::target::{Target, silent_recorder};

/// Health of a release in one environment, over the last day, as the recorder answers it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub(crate) struct Health {
    release: String,
    sessions: u64,
    sessions_crashed: u64,
    adoption_sessions: Option<f64>,
    stage: String,
}

#[derive(Deserialize)]
struct HealthAnswer {
    releases: Vec<Health>,
}

/// Numbers of a release in one environment, over everything that is stored.
#[derive(Deserialize)]
struct Counts {
    release: String,
    errors: u64,
}

/// An issue.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Issue {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Text of its error, if it has one.
    #[serde(default)]
    pub value: Option<String>,
    /// `unresolved`, `resolved` or `ignored`.
    pub status: String,
    /// `new`, `regressed`, …
    pub substatus: Option<String>,
    /// Number of its events.
    pub count: u64,
    /// Release of its first event.
    pub first_release: Option<String>,
    /// Releases of its events.
    #[serde(default)]
    pub releases: Vec<String>,
}

/// Figures of one release, over all environments.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ReleaseFacts {
    /// The release.
    pub release: String,
    /// Its sessions of the last day: runs of processes, and requests.
    pub sessions: u64,
    /// Those that crashed.
    pub sessions_crashed: u64,
    /// Share of those that did not. Null without a session.
    pub crash_free_sessions: Option<f64>,
    /// Its share of the sessions of the service, where it has most of them. Null without a session.
    pub adoption: Option<f64>,
    /// `adopted`, `low_adoption` or `replaced`. Empty without a session.
    pub stage: String,
    /// Its error events that are stored.
    pub errors: u64,
    /// Ids of the issues that began with it.
    pub new_issues: Vec<String>,
}

/// What the recorder knows of the releases of one service.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub(crate) health: Vec<Health>,
    pub(crate) errors: BTreeMap<String, u64>,
    /// Issues of the service, the most recent first.
    pub issues: Vec<Issue>,
}

impl Facts {
    /// Reads the facts.
    ///
    /// # Errors
    /// When the recorder does not answer (exit code 69), or in another form.
    pub async fn read(target: &Target, part: Part) -> Result<Self> {
        let health: HealthAnswer = serde_json::from_str(&get(target, "release-health", part).await?)
            .context("the recorder's answer is not the health of releases")?;
        let mut errors: BTreeMap<String, u64> = BTreeMap::new();
        for Counts { release, errors: count } in lines::<Counts>(&get(target, "releases", part).await?)? {
            *errors.entry(release).or_default() += count;
        }
        let issues = lines(&get(target, "issues", part).await?)?;
        Ok(Self { health: health.releases, errors, issues })
    }

    /// Figures of one release. They are zero for a release that the recorder does not know.
    #[must_use]
    pub fn of(&self, release: &str) -> ReleaseFacts {
        let own = || self.health.iter().filter(|health| health.release == release);
        let sessions: u64 = own().map(|health| health.sessions).sum();
        let sessions_crashed: u64 = own().map(|health| health.sessions_crashed).sum();
        let largest = own().max_by_key(|health| health.sessions);
        let began = |issue: &&Issue| issue.first_release.as_deref() == Some(release);
        ReleaseFacts {
            release: release.to_owned(),
            sessions,
            sessions_crashed,
            crash_free_sessions: (sessions > 0).then(|| 1.0 - sessions_crashed as f64 / sessions as f64),
            adoption: largest.and_then(|health| health.adoption_sessions),
            stage: largest.map(|health| health.stage.clone()).unwrap_or_default(),
            errors: self.errors.get(release).copied().unwrap_or(0),
            new_issues: self.issues.iter().filter(began).map(|issue| issue.id.clone()).collect(),
        }
    }

    /// Names of all releases that sent anything.
    pub fn releases(&self) -> impl Iterator<Item = &str> {
        self.errors.keys().map(String::as_str)
    }
}

async fn get(target: &Target, what: &str, part: Part) -> Result<String> {
    let url = format!("{}/api/v1/{what}", target.recorder_url);
    let url = Url::parse_with_params(&url, [("project", part.as_str())])
        .with_context(|| format!("`{url}` is not a URL"))?;
    let answer = target.http().get(url).send().await;
    let answer = answer.map_err(|error| silent_recorder(&target.recorder_url, error))?;
    if !answer.status().is_success() {
        bail!("the recorder answered {} to a question about {what}", answer.status());
    }
    Ok(answer.text().await?)
}

fn lines<T: for<'de> Deserialize<'de>>(text: &str) -> Result<Vec<T>> {
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<Vec<T>, _>>().context("the recorder's answer is not a list")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(release: &str, sessions: u64, sessions_crashed: u64, adoption: f64, stage: &str) -> Health {
        Health {
            release: release.to_owned(),
            sessions,
            sessions_crashed,
            adoption_sessions: Some(adoption),
            stage: stage.to_owned(),
        }
    }

    #[test]
    fn release_has_its_own_figures() {
        let began = |id: &str, release: Option<&str>| Issue {
            id: id.to_owned(),
            first_release: release.map(str::to_owned),
            releases: vec!["b".to_owned()],
            ..Issue::default()
        };
        let facts = Facts {
            health: vec![
                health("a", 90, 0, 0.9, "adopted"),
                health("b", 6, 3, 0.06, "low_adoption"),
                health("b", 4, 1, 1.0, "adopted"),
            ],
            errors: BTreeMap::from([("b".to_owned(), 12)]),
            issues: vec![began("i1", Some("b")), began("i2", Some("a")), began("i3", None)],
        };
        let of = facts.of("b");
        assert_eq!((of.sessions, of.sessions_crashed, of.errors), (10, 4, 12));
        assert_eq!((of.crash_free_sessions, of.adoption), (Some(0.6), Some(0.06)));
        assert_eq!((of.stage.as_str(), of.new_issues), ("low_adoption", vec!["i1".to_owned()]));
        let unknown = ReleaseFacts { release: "c".to_owned(), ..ReleaseFacts::default() };
        assert_eq!(facts.of("c"), unknown);
        assert_eq!(facts.releases().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn lists_of_the_recorder_are_read() {
        let text = "{\"id\":\"ab\",\"title\":\"t\",\"status\":\"resolved\",\"substatus\":null,\"count\":2,\
                    \"first_release\":null,\"releases\":[\"g@1\"],\"more\":1}\n";
        let issues: Vec<Issue> = lines(text).unwrap();
        assert_eq!((issues[0].count, issues[0].releases.as_slice()), (2, ["g@1".to_owned()].as_slice()));
        assert!(lines::<Issue>("not json\n").is_err());
    }
}
