//! The recorder's alerts, as the command line reads them (`docs/ALERTS.md`).

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::target::{Target, silent_recorder};

/// What the recorder's last round of evaluation found, and its alerts.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Alerts {
    /// Time of the round, in seconds since the epoch. `None` if the rules were not evaluated yet, or are not evaluated at all.
    pub evaluated_at: Option<f64>,
    /// States of the rules.
    pub rules: Vec<RuleState>,
    /// Newest first.
    pub alerts: Vec<Alert>,
}

/// State of one rule in one project.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct RuleState {
    /// Slug of the rule, or `check-in` with the slug of a monitor.
    pub rule: String,
    /// The project.
    pub project: String,
    /// `ok`, `pending`, `firing`, `resolved` or `no_data`.
    pub phase: String,
    /// Time of the last change, in seconds since the epoch.
    pub since: f64,
    /// The measured value.
    pub value: Option<f64>,
    /// State of a monitor, which has no value: `missed`, `timeout`, `error` or `ok`. `None` if it was not judged since the
    /// recorder's start.
    #[serde(default)]
    pub what: Option<String>,
    /// Values above it are bad.
    #[serde(default)]
    pub above: Option<f64>,
    /// Values below it are bad.
    #[serde(default)]
    pub below: Option<f64>,
}

/// One alert. Times are in seconds since the epoch.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Alert {
    /// Its number.
    pub id: u64,
    /// `firing`, `resolved` or `noted`.
    pub state: String,
    /// Name of the incident.
    pub name: String,
    /// `medium` or `high`.
    pub severity: String,
    /// Time of the first finding.
    pub opened_at: f64,
    /// Time of the last finding.
    pub last_at: f64,
    /// Time at which everything in it had ended.
    pub resolved_at: Option<f64>,
    /// Number of its findings.
    pub count: u64,
    /// Number of its findings by the reason for which they are part of it.
    pub folded: BTreeMap<String, u64>,
    /// Number of its findings by what they are.
    pub keys: BTreeMap<String, u64>,
    /// Its first finding and its newest ones, oldest first.
    pub entries: Vec<Entry>,
}

/// A finding in an alert.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Entry {
    /// Its time.
    pub at: f64,
    /// What found it: `rule`, `check_in` or `issue` with its slug or id.
    #[serde(default)]
    pub origin: BTreeMap<String, String>,
    /// What it is.
    pub what: String,
    /// Project in which it was found.
    pub project: String,
    /// Why it is part of the alert: `first`, `repeat`, `cause` or `budget`.
    pub folded_by: String,
    /// The measured value.
    pub value: Option<f64>,
    /// The bound of the rule.
    pub bound: Option<f64>,
    /// Traces that show it.
    pub traces: Vec<String>,
    /// Time at which it ended.
    pub ended_at: Option<f64>,
}

impl Alerts {
    /// Asks the recorder of a platform.
    ///
    /// # Errors
    /// When it does not answer (exit code 69), or its answer is not understood.
    pub async fn read(target: &Target) -> Result<Self> {
        let url = format!("{}/api/v1/alerts", target.recorder_url);
        let answer = target.http().get(&url).send().await;
        let answer = answer.map_err(|error| silent_recorder(&target.recorder_url, error))?;
        if !answer.status().is_success() {
            bail!("the recorder answered {} to {url}", answer.status());
        }
        answer.json().await.context("the recorder's answer is no list of alerts")
    }

    /// Returns true if an alert is firing.
    #[must_use]
    pub fn is_any_firing(&self) -> bool {
        self.alerts.iter().any(|alert| alert.state == "firing")
    }

    /// Returns the findings after a time, each with the number of its alert.
    pub fn since(&self, at: f64) -> impl Iterator<Item = (u64, &Entry)> {
        self.alerts
            .iter()
            .flat_map(|alert| alert.entries.iter().map(move |entry| (alert.id, entry)))
            .filter(move |(_, entry)| entry.at > at)
    }

    /// Returns the state of a rule in any of its projects that fires, if one does.
    #[must_use]
    pub fn firing(&self, rule: &str) -> Option<&RuleState> {
        self.rules.iter().find(|state| state.rule == rule && state.phase == "firing")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// As the recorder answers.
    pub(crate) fn answer() -> Alerts {
        let answer = json!({"evaluated_at": 100.0, "upto": 7, "late": 0,
            "rules": [
                {"rule": "lag-seconds", "name": "Consumer lag above 30 s", "project": "lagwatch", "phase": "firing",
                 "since": 90.0, "value": 31.0, "above": 30.0, "below": null, "window_s": 300, "fires_within_s": 35},
                {"rule": "dead-letters", "name": "Dead letters", "project": "game", "phase": "no_data", "since": 1.0,
                 "value": null, "above": 0.0, "below": null, "window_s": 300, "fires_within_s": 35},
                {"rule": "check-in nightly", "name": "Check-ins of nightly", "project": "wire", "phase": "firing",
                 "since": 95.0, "value": null, "what": "timeout", "above": null, "below": null, "window_s": null,
                 "fires_within_s": null}],
            "alerts": [{"state": "firing", "id": 1, "fold": "backlog", "name": "Records are late", "severity": "high",
                "opened_at": 50.0, "last_at": 90.0, "resolved_at": null, "is_first_of_day": true, "count": 2,
                "folded": {"first": 1, "cause": 1}, "keys": {"dead-letters in game": 1, "lag-seconds in lagwatch": 1},
                "lasting": ["lag-seconds in lagwatch"],
                "entries": [
                    {"at": 50.0, "origin": {"rule": "dead-letters"}, "project": "game", "what": "Dead letters",
                     "severity": "high", "value": 1.0, "bound": 0.0, "window_s": 300, "traces": ["ab"], "lasts": true,
                     "folded_by": "first", "ended_at": 80.0},
                    {"at": 90.0, "origin": {"rule": "lag-seconds"}, "project": "lagwatch", "what": "Consumer lag above 30 s",
                     "severity": "high", "value": 31.0, "bound": 30.0, "window_s": 300, "traces": [], "lasts": true,
                     "folded_by": "cause", "ended_at": null}]}]});
        serde_json::from_value(answer).unwrap()
    }

    #[test]
    fn answer_of_the_recorder_is_read() {
        let alerts = answer();
        assert!(alerts.is_any_firing() && !Alerts::default().is_any_firing());
        assert!(alerts.firing("lag-seconds").is_some() && alerts.firing("dead-letters").is_none());
        let states: Vec<Option<&str>> = alerts.rules.iter().map(|rule| rule.what.as_deref()).collect();
        assert_eq!(states, [None, None, Some("timeout")]);
        let after = |at| alerts.since(at).map(|(id, entry)| (id, entry.what.as_str())).collect::<Vec<_>>();
        assert_eq!(after(0.0), [(1, "Dead letters"), (1, "Consumer lag above 30 s")]);
        assert_eq!(after(50.0), [(1, "Consumer lag above 30 s")]);
    }
}
