//! Finds what Sentry would accept and what then never shows anything.
//!
//! That is: queries of names that Pitboss does not send, alerts without a monitor, windows and frequencies that do not exist, and
//! widgets that lie over one another.

mod names;
mod widgets;

use std::collections::BTreeSet;
use std::time::Duration;

use contracts::Group;
use contracts::parts::sentry_projects;
use telemetry::check_in::Schedule;

use super::model::{Alert, CronMonitor, Definitions, Fingerprint, Fold, JobMonitor, Rule, Severity, Signal};
use crate::declared_names::DeclaredNames;
use crate::verify::alerts::alerts as alert_conditions;

/// Lengths of time that Sentry measures over, in seconds.
const WINDOWS_S: [u32; 9] = [60, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 86_400];
/// Minutes between two messages of an alert that Sentry accepts.
const FREQUENCIES_MIN: [u32; 8] = [0, 5, 10, 30, 60, 180, 720, 1_440];
/// Longest name of a rule: Sentry takes 200 characters, and prefix and suffix need some.
const NAME_CHARS_MAX: usize = 160;
/// Interval at which services check in by default (`telemetry.check_in_interval_s`).
const CHECK_IN_INTERVAL: Duration = Duration::from_secs(60);
/// Keys of fingerprint rules besides `tags.`.
const FINGERPRINT_KEYS: [&str; 5] = ["error.type", "error.value", "level", "logger", "message"];
/// Longest period of a fold, a day. A longer one would join incidents of different days.
const PERIOD_MIN_MAX: u32 = 1_440;
/// Largest number of folds: each has one of the recorder's ten alerts of a day for itself.
const FOLDS_MAX: usize = 6;
/// Beginning of the key of a tag.
const TAGS: &str = "tags.";

/// Checks the declarations and returns what is wrong with them, one text each, with the place and what is allowed there.
///
/// # Errors
/// When the catalogue of declared names is unusable.
pub fn lint(definitions: &Definitions) -> serde_json::Result<Vec<String>> {
    let names = DeclaredNames::read()?;
    let mut findings = Vec::new();
    projects(definitions, &mut findings);
    monitors(&definitions.monitors, &mut findings);
    jobs(definitions, &mut findings);
    rules(definitions, &names, &mut findings);
    alerts(definitions, &mut findings);
    folds(definitions, &mut findings);
    widgets::check(&definitions.dashboards, &names, &mut findings);
    Ok(findings)
}

fn projects(definitions: &Definitions, findings: &mut Vec<String>) {
    let declared: Vec<&str> = definitions.projects.list.iter().map(|project| &*project.service).collect();
    for (_, sender) in sentry_projects() {
        match declared.iter().filter(|service| **service == sender).count() {
            0 => findings.push(format!("projects.toml: no project for {sender}, which sends telemetry")),
            1 => {}
            _ => findings.push(format!("projects.toml: several projects for {sender}")),
        }
    }
    let senders: BTreeSet<&str> = sentry_projects().into_iter().map(|(_, name)| name).collect();
    for service in declared.iter().filter(|service| !senders.contains(*service)) {
        findings.push(format!("projects.toml: {service} sends no telemetry"));
    }
    for rule in &definitions.projects.fingerprints {
        fingerprint(rule, findings);
    }
}

fn fingerprint(rule: &Fingerprint, findings: &mut Vec<String>) {
    let place = format!("projects.toml: fingerprint {}", rule.fingerprint.join(", "));
    if rule.matchers.is_empty() || rule.fingerprint.is_empty() {
        findings.push(format!("{place}: it needs at least one matcher and one part"));
    }
    let variables =
        rule.fingerprint.iter().filter_map(|part| variable(part)).filter(|name| *name != "default");
    for key in rule.matchers.keys().map(String::as_str).chain(variables) {
        let is_known = match key.strip_prefix(TAGS) {
            Some(tag) => telemetry::TAGS.contains(&tag),
            None => FINGERPRINT_KEYS.contains(&key),
        };
        if !is_known {
            findings.push(format!(
                "{place}: `{key}` is neither one of {} nor `{TAGS}` with one of the tags {}",
                FINGERPRINT_KEYS.join(", "),
                telemetry::TAGS.join(", ")
            ));
        }
    }
    // A rule is one line of text, in which quotes end a pattern.
    let texts = rule.matchers.values().chain(&rule.fingerprint);
    for text in texts.filter(|text| text.contains(['"', '\\', '\n'])) {
        findings.push(format!("{place}: `{}` has a quote, a backslash or a line break", text.escape_debug()));
    }
}

/// The name between the braces of `{{ name }}`.
fn variable(part: &str) -> Option<&str> {
    Some(part.strip_prefix("{{")?.strip_suffix("}}")?.trim())
}

fn monitors(declared: &[CronMonitor], findings: &mut Vec<String>) {
    let sent = Schedule::of_consumer(CHECK_IN_INTERVAL);
    for group in Group::ALL.iter().filter(|group| group.commits()) {
        let of_group: Vec<&CronMonitor> = declared.iter().filter(|monitor| monitor.group == *group).collect();
        let [monitor] = of_group.as_slice() else {
            findings.push(format!("monitors.toml: {group} needs one monitor and has {}", of_group.len()));
            continue;
        };
        let CronMonitor { interval_min, margin_min, runtime_min_max, .. } = **monitor;
        if (Schedule { interval_min, margin_min, runtime_min_max }) != sent {
            findings.push(format!("monitors.toml: {group} differs from what its check-ins bring: {sent:?}"));
        }
    }
    for monitor in declared.iter().filter(|monitor| !monitor.group.commits()) {
        findings.push(format!("monitors.toml: {} commits no offsets and does not check in", monitor.group));
    }
}

fn jobs(definitions: &Definitions, findings: &mut Vec<String>) {
    let (sent, mut names) = (Schedule::of_job(CHECK_IN_INTERVAL), BTreeSet::new());
    for monitor in &definitions.jobs {
        let JobMonitor { job, service, interval_min, margin_min, runtime_min_max } = monitor;
        if !names.insert(job) {
            findings.push(format!("monitors.toml: {job} is there twice"));
        }
        if !definitions.projects.list.iter().any(|project| project.service == *service) {
            findings.push(format!("monitors.toml: {job}: projects.toml has no project for {service}"));
        }
        let declared = (*interval_min, *margin_min, *runtime_min_max);
        if declared != (sent.interval_min, sent.margin_min, sent.runtime_min_max) {
            findings.push(format!("monitors.toml: {job} differs from what its check-ins bring: {sent:?}"));
        }
    }
}

fn rules(definitions: &Definitions, names: &DeclaredNames, findings: &mut Vec<String>) {
    let mut slugs = BTreeSet::new();
    let mut titles = BTreeSet::new();
    for rule in &definitions.rules {
        let place = format!("rules.toml: {}", rule.slug);
        if !slugs.insert(rule.slug.as_str()) || !titles.insert(rule.name.as_str()) {
            findings.push(format!("{place}: another rule has this slug or this name"));
        }
        shape(rule, &place, findings);
        for service in &rule.projects {
            if !definitions.projects.list.iter().any(|project| project.service == *service) {
                findings.push(format!("{place}: projects.toml has no project for {service}"));
            }
        }
        signal(rule, names, &place, findings);
        if !definitions.alerts.iter().any(|alert| alert.rules.contains(&rule.slug)) {
            findings.push(format!("{place}: no alert names it, so nobody would learn of it"));
        }
    }
    for condition in alert_conditions() {
        if !definitions.rules.iter().any(|rule| rule.condition.as_deref() == Some(condition.id)) {
            findings.push(format!("rules.toml: no rule for `{}`, which faults have to raise", condition.id));
        }
    }
}

fn shape(rule: &Rule, place: &str, findings: &mut Vec<String>) {
    let is_slug = |slug: &str| {
        !slug.is_empty()
            && slug.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-' || byte.is_ascii_digit())
    };
    if !is_slug(&rule.slug) {
        findings.push(format!("{place}: a slug has lower-case letters, digits and hyphens"));
    }
    if rule.name.is_empty() || rule.name.chars().count() > NAME_CHARS_MAX {
        findings.push(format!("{place}: a name has 1 to {NAME_CHARS_MAX} characters"));
    }
    let services: BTreeSet<&String> = rule.projects.iter().collect();
    if services.is_empty() || services.len() != rule.projects.len() {
        findings.push(format!("{place}: it needs projects, each one once"));
    }
    if !WINDOWS_S.contains(&rule.window_s) {
        findings.push(format!("{place}: window_s is not one of {WINDOWS_S:?}"));
    }
    if !rule.firing.bound().is_finite() {
        findings.push(format!("{place}: the bound is no number"));
    }
    if rule.row_bound.is_some_and(|bound| !bound.is_finite() || rule.firing.is_exceeded(bound)) {
        findings.push(format!("{place}: row_bound has to be on the good side of the bound"));
    }
    if let Some(condition) = &rule.condition
        && !alert_conditions().iter().any(|known| known.id == condition)
    {
        findings.push(format!("{place}: no fault has the alert condition `{condition}`"));
    }
}

fn signal(rule: &Rule, names: &DeclaredNames, place: &str, findings: &mut Vec<String>) {
    match &rule.signal {
        Signal::Metric(signal) => {
            names::metric(names, signal.name.0, signal.aggregate, place, findings);
            for label in signal.labels.keys().chain(signal.without.keys()) {
                names::label(names, label, place, findings);
            }
            names::patterns(signal.labels.values().chain(signal.without.values()), place, findings);
        }
        Signal::Ratio(ratio) => {
            for metric in [ratio.of.0, ratio.to.0] {
                names::counter(names, metric, place, findings);
            }
            for label in ratio.labels.keys() {
                names::label(names, label, place, findings);
            }
            names::patterns(ratio.labels.values(), place, findings);
        }
        Signal::Transactions(signal) => names::op(names, &signal.op, place, findings),
    }
}

fn alerts(definitions: &Definitions, findings: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for alert in &definitions.alerts {
        let place = format!("alerts.toml: {}", alert.name);
        if alert.name.is_empty() || !seen.insert(&alert.name) {
            findings.push(format!("{place}: an alert needs a name of its own"));
        }
        if alert.rules.is_empty() && !alert.check_ins {
            findings.push(format!("{place}: it names no rule and no check-ins, so it would never fire"));
        }
        if !FREQUENCIES_MIN.contains(&alert.frequency_min) {
            findings.push(format!("{place}: frequency_min is not one of {FREQUENCIES_MIN:?}"));
        }
        for slug in &alert.rules {
            match definitions.rules.iter().find(|rule| rule.slug == *slug) {
                None => findings.push(format!("{place}: there is no rule {slug}")),
                Some(rule) if rule.severity < alert.severity_min => {
                    findings.push(format!("{place}: the severity of {slug} is too low for it"));
                }
                Some(_) => {}
            }
        }
    }
    let of_check_ins: Vec<&Alert> = definitions.alerts.iter().filter(|alert| alert.check_ins).collect();
    if of_check_ins.is_empty() {
        findings.push("alerts.toml: no alert has missed check-ins".to_owned());
    }
    // Sentry gives the issue of a missed check-in no high severity for sure.
    for alert in of_check_ins.iter().filter(|alert| alert.severity_min > Severity::Medium) {
        findings.push(format!("alerts.toml: {}: missed check-ins may have the severity medium", alert.name));
    }
}

fn folds(definitions: &Definitions, findings: &mut Vec<String>) {
    let mut slugs = BTreeSet::new();
    for fold in &definitions.folds {
        let place = format!("folds.toml: {}", fold.slug);
        if fold.slug.is_empty() || !slugs.insert(&fold.slug) {
            findings.push(format!("{place}: a fold needs a slug of its own"));
        }
        if !(1..=PERIOD_MIN_MAX).contains(&fold.period_min) {
            findings.push(format!("{place}: period_min is not from 1 to {PERIOD_MIN_MAX}"));
        }
        for slug in fold.rules.iter().filter(|slug| !definitions.rules.iter().any(|rule| rule.slug == **slug))
        {
            findings.push(format!("{place}: there is no rule {slug}"));
        }
    }
    if definitions.folds.len() > FOLDS_MAX {
        findings.push(format!(
            "folds.toml: more than {FOLDS_MAX} folds leave no alert to share of the ten of a day"
        ));
    }
    for rule in &definitions.rules {
        let owners = definitions.folds.iter().filter(|fold| fold.rules.contains(&rule.slug)).count();
        if owners != 1 {
            findings.push(format!("folds.toml: {} is in {owners} folds and has to be in one", rule.slug));
        }
    }
    let has = |owns: fn(&Fold) -> bool| definitions.folds.iter().filter(|fold| owns(fold)).count() == 1;
    if !has(|fold| fold.check_ins) || !has(|fold| fold.issues) {
        findings.push("folds.toml: one fold has missed check-ins, and one has issues".to_owned());
    }
}

#[cfg(test)]
mod tests;
