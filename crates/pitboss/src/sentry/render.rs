//! The JSON of Sentry's public API: what is sent for each declaration.

mod dashboard;
mod query;

use serde_json::{Value, json};
use telemetry::check_in::{JOB_FAILURES, JOB_RECOVERIES};

use super::model::{
    Alert, CronMonitor, Definitions, Fingerprint, JobMonitor, NoData, PREFIX, Project, Projects, Rule,
    Signal, Threshold, WithoutOwner,
};

pub use dashboard::dashboard;

/// Sentry's number for a condition that ends an issue.
const RESOLVED: u32 = 0;
/// Kind of query of everything but errors.
const QUERY_TYPE: u32 = 1;
/// Data set of spans and metrics.
const DATASET: &str = "events_analytics_platform";

/// A monitor of a metric or of spans, in one project. Sentry's API calls it a detector.
#[derive(Clone, Debug, PartialEq)]
pub struct Detector {
    /// Slug of the rule.
    pub rule: String,
    /// Service whose project has it.
    pub service: String,
    /// Name in Sentry, unique in the project.
    pub name: String,
    /// What is sent.
    pub body: Value,
}

/// The monitors of a rule: one in each project, and one more if the rule fires without data.
///
/// Sentry evaluates a value that does not exist as 0 (getsentry/sentry#121423). So a rule about large values is quiet without data,
/// and needs a second monitor that counts. A rule about small values would fire, so its monitor measures what is missing to the
/// bound, of which 0 is good.
#[must_use]
pub fn detectors(rule: &Rule) -> Vec<Detector> {
    let (query, firing) = match rule.firing {
        Threshold::Above(_) => (query::of_signal(&rule.signal), rule.firing),
        Threshold::Below(bound) => (query::of_signal(&rule.signal).shortfall(bound), Threshold::Above(0.0)),
    };
    let measured = (format!("{PREFIX}{}", rule.name), query, firing);
    let silent = (rule.no_data == NoData::Firing).then(|| {
        (format!("{PREFIX}{} (no data)", rule.name), query::of_count(&rule.signal), Threshold::Below(1.0))
    });
    let variants: Vec<_> = std::iter::once(measured).chain(silent).collect();
    let of_service = |service: &String| {
        let of_variant = |(name, query, firing): &(String, query::Query, Threshold)| Detector {
            rule: rule.slug.clone(),
            service: service.clone(),
            name: name.clone(),
            body: detector(rule, name, query, *firing),
        };
        variants.iter().map(of_variant).collect::<Vec<_>>()
    };
    rule.projects.iter().flat_map(of_service).collect()
}

fn detector(rule: &Rule, name: &str, query: &query::Query, firing: Threshold) -> Value {
    let (bad, good) = match firing {
        Threshold::Above(_) => ("gt", "lte"),
        Threshold::Below(_) => ("lt", "gte"),
    };
    let bound = firing.bound();
    let event_type = match rule.signal {
        Signal::Metric(_) | Signal::Ratio(_) => "trace_item_metric",
        Signal::Transactions(_) => "trace_item_span",
    };
    json!({
        "name": name,
        "type": "metric_issue",
        "description": rule.means,
        "enabled": true,
        "dataSources": [{
            "dataset": DATASET,
            "eventTypes": [event_type],
            "queryType": QUERY_TYPE,
            "aggregate": query.aggregate,
            "query": query.conditions,
            "timeWindow": rule.window_s,
            "environment": null,
        }],
        "conditionGroup": {
            "logicType": "any",
            "conditions": [
                { "type": bad, "comparison": bound, "conditionResult": rule.severity.priority() },
                { "type": good, "comparison": bound, "conditionResult": RESOLVED },
            ],
        },
        "config": { "detectionType": "static" },
    })
}

/// An alert over the detectors with these ids. Sentry's API calls it a workflow.
#[must_use]
pub fn workflow(alert: &Alert, detector_ids: &[String]) -> Value {
    let trigger = |name: &str| json!({ "type": name, "comparison": true, "conditionResult": true });
    let triggers = ["first_seen_event", "regression_event", "reappeared_event"].map(trigger);
    let fallthrough = match alert.without_owner {
        WithoutOwner::ActiveMembers => "ActiveMembers",
        WithoutOwner::AllMembers => "AllMembers",
        WithoutOwner::NoOne => "NoOne",
    };
    json!({
        "name": format!("{PREFIX}{}", alert.name),
        "enabled": true,
        "environment": null,
        "detectorIds": detector_ids,
        "config": { "frequency": alert.frequency_min },
        "triggers": {
            "logicType": "any-short",
            "conditions": triggers,
            "actions": [],
        },
        "actionFilters": [{
            "logicType": "all",
            "conditions": [{
                "type": "issue_priority_greater_or_equal",
                "comparison": alert.severity_min.priority(),
                "conditionResult": true,
            }],
            "actions": [{
                "type": "email",
                "integrationId": null,
                "data": { "fallthroughType": fallthrough },
                "config": { "targetType": "issue_owners", "targetDisplay": null, "targetIdentifier": "" },
                "status": "active",
            }],
        }],
    })
}

/// The monitors of all check-ins, each with its slug: those of the groups, then those of the jobs.
#[must_use]
pub fn check_in_monitors(definitions: &Definitions) -> Vec<(String, Value)> {
    let of_groups = definitions.monitors.iter().map(|monitor| (monitor.slug(), cron_monitor(monitor)));
    let of_jobs = definitions.jobs.iter().map(|monitor| (monitor.slug(), job_monitor(monitor)));
    of_groups.chain(of_jobs).collect()
}

/// The monitor of a job's check-ins.
#[must_use]
pub fn job_monitor(monitor: &JobMonitor) -> Value {
    json!({
        "project": super::model::project_slug(&monitor.service),
        "name": format!("{PREFIX}job {}", monitor.job),
        "slug": monitor.slug(),
        "status": "active",
        "config": {
            "schedule_type": "interval",
            "schedule": [monitor.interval_min, "minute"],
            "checkin_margin": monitor.margin_min,
            "max_runtime": monitor.runtime_min_max,
            "failure_issue_threshold": JOB_FAILURES,
            "recovery_threshold": JOB_RECOVERIES,
        },
    })
}

/// The monitor of a group's check-ins.
#[must_use]
pub fn cron_monitor(monitor: &CronMonitor) -> Value {
    let project = super::model::project_slug(monitor.group.as_str());
    json!({
        "project": project,
        "name": format!("{PREFIX}consumer {}", monitor.group),
        "slug": monitor.slug(),
        "status": "active",
        "config": {
            "schedule_type": "interval",
            "schedule": [monitor.interval_min, "minute"],
            "checkin_margin": monitor.margin_min,
            "max_runtime": monitor.runtime_min_max,
        },
    })
}

/// A new project. Its fingerprint rules are sent afterwards, because creation does not take them.
#[must_use]
pub fn new_project(project: &Project) -> Value {
    let slug = project.slug();
    json!({ "name": slug, "slug": slug, "platform": project.platform, "default_rules": false })
}

/// A project as it should be.
#[must_use]
pub fn project(project: &Project, projects: &Projects) -> Value {
    json!({
        "name": project.slug(),
        "slug": project.slug(),
        "platform": project.platform,
        "fingerprintingRules": fingerprint_rules(&projects.fingerprints),
    })
}

/// Fingerprint rules in Sentry's form: one line each. Sentry cuts white space at the ends, so there is none.
#[must_use]
pub fn fingerprint_rules(rules: &[Fingerprint]) -> String {
    let line = |rule: &Fingerprint| {
        let matchers: Vec<String> =
            rule.matchers.iter().map(|(key, pattern)| format!("{key}:\"{pattern}\"")).collect();
        format!("{} -> {}", matchers.join(" "), rule.fingerprint.join(", "))
    };
    rules.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
