//! What `deploy/sentry/` declares, as closed types: an unknown key or value is an error when the file is read.

mod dashboard;

use std::collections::BTreeMap;

use contracts::Group;
use serde::Deserialize;

pub use dashboard::{Dashboard, Display, MetricColumn, MetricSource, Source, SpanColumn, SpanSource, Widget};
pub use rules::{
    Aggregate, Fold, Labels, MetricRatio, MetricSignal, Named, NoData, Rule, Severity, Signal, SpanMeasure,
    SpanSignal, Threshold, sent_label,
};

/// Prefix of the name of everything that is created in Sentry, which separates it from what people made there by hand.
pub const PREFIX: &str = "Pitboss: ";

/// Everything that is declared.
#[derive(Clone, Debug, PartialEq)]
pub struct Definitions {
    /// Projects and their fingerprint rules.
    pub projects: Projects,
    /// Monitors of the check-ins of consumer groups.
    pub monitors: Vec<CronMonitor>,
    /// Monitors of the check-ins of periodic jobs.
    pub jobs: Vec<JobMonitor>,
    /// Rules, each a monitor of a metric or of spans.
    pub rules: Vec<Rule>,
    /// Alerts: who learns of what the monitors find.
    pub alerts: Vec<Alert>,
    /// Folds: which findings the recorder makes one alert of.
    pub folds: Vec<Fold>,
    /// Dashboards.
    pub dashboards: Vec<Dashboard>,
}

/// `projects.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Projects {
    /// Slug of the team that owns new projects, unless `PITBOSS_SENTRY_TEAM` names another one.
    pub team: String,
    /// The projects, one for each sender of telemetry.
    #[serde(rename = "project")]
    pub list: Vec<Project>,
    /// Fingerprint rules of all projects, first match first.
    #[serde(rename = "fingerprint", default)]
    pub fingerprints: Vec<Fingerprint>,
}

/// A project.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// Name of the service (or of the web client) that sends to it.
    pub service: String,
    /// Sentry's name of the platform, such as `rust`.
    pub platform: String,
}

impl Project {
    /// The slug in Sentry.
    #[must_use]
    pub fn slug(&self) -> String {
        project_slug(&self.service)
    }
}

/// Slug of a service's project.
#[must_use]
pub fn project_slug(service: &str) -> String {
    format!("pitboss-{service}")
}

/// A fingerprint rule: events for which every matcher holds become one issue for each value of the fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    /// Why the default grouping is not right, for the reader of the file.
    pub why: String,
    /// Matchers: a key and a pattern, in which `*` stands for any text.
    #[serde(rename = "match")]
    pub matchers: BTreeMap<String, String>,
    /// Parts of the fingerprint: texts and variables such as `{{ tags.error.kind }}`.
    pub fingerprint: Vec<String>,
}

/// The monitor of one consumer group's check-ins. A check-in brings the same settings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CronMonitor {
    /// The consumer group, which is also the service whose project gets the check-ins.
    #[serde(deserialize_with = "group")]
    pub group: Group,
    /// Interval of the check-ins, in minutes.
    pub interval_min: u64,
    /// Minutes after which a check-in that is due counts as missed.
    pub margin_min: u64,
    /// Longest time of one run, in minutes.
    pub runtime_min_max: u64,
}

impl CronMonitor {
    /// Its slug, which the check-ins name.
    #[must_use]
    pub fn slug(&self) -> String {
        telemetry::check_in::consumer_slug(self.group.as_str())
    }
}

/// The monitor of the check-ins of a periodic job. A check-in brings the same settings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobMonitor {
    /// Name of the job.
    pub job: String,
    /// Service whose project gets the check-ins.
    pub service: String,
    /// Interval of the check-ins, in minutes.
    pub interval_min: u64,
    /// Minutes after which a check-in that is due counts as missed.
    pub margin_min: u64,
    /// Longest time of one run, in minutes.
    pub runtime_min_max: u64,
}

impl JobMonitor {
    /// Its slug, which the check-ins name.
    #[must_use]
    pub fn slug(&self) -> String {
        telemetry::check_in::job_slug(&self.job)
    }
}

/// Who learns of what which monitors find.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alert {
    /// Name, without the prefix.
    pub name: String,
    /// Slugs of the rules.
    #[serde(default)]
    pub rules: Vec<String>,
    /// Whether missed check-ins of all consumer groups and periodic jobs are part of it.
    #[serde(default)]
    pub check_ins: bool,
    /// Least severity of the issues that it tells of.
    pub severity_min: Severity,
    /// Minutes between two messages about one issue: 0, 5, 10, 30, 60, 180, 720 or 1440.
    pub frequency_min: u32,
    /// Who gets the e-mail if an issue has no owner.
    pub without_owner: WithoutOwner,
}

/// Receivers of the e-mail about an issue without an owner. Owners always get it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WithoutOwner {
    /// Members of the project who were in Sentry lately.
    ActiveMembers,
    /// All members of the project.
    AllMembers,
    /// Nobody.
    NoOne,
}

fn group<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Group, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        let known: Vec<&str> = Group::ALL.iter().map(|group| group.as_str()).collect();
        serde::de::Error::custom(format!(
            "`{text}` is no consumer group, expected one of {}",
            known.join(", ")
        ))
    })
}
