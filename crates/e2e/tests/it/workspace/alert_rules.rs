//! Rules, alerts and dashboards in `deploy/` name only what Pitboss sends, and the files of Prometheus are well formed.

use std::collections::BTreeSet;
use std::fs;

use pitboss::sentry::{files, lint};
use regex::Regex;
use serde_json::Value;
use telemetry::metric::{Kind, Metric};

use super::{root, rust_files};

#[test]
fn queries_for_sentry_name_what_is_sent() {
    let definitions = files::load(&root().join(files::FOLDER)).expect("the declarations");
    let findings = lint::lint(&definitions).expect("a catalogue of names");
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

/// A job that no monitor names would make issues that nobody is told of.
#[test]
fn every_job_of_the_services_has_a_monitor() {
    let name = Regex::new(r#"Job::new\(\s*"([a-z-]+)""#).expect("a pattern");
    let mut in_code = BTreeSet::new();
    for file in rust_files(&root().join("services")) {
        let text = fs::read_to_string(&file).expect("a readable file");
        let production = text.split("#[cfg(test)]").next().unwrap_or_default();
        in_code.extend(name.captures_iter(production).map(|found| found[1].to_owned()));
    }
    let definitions = files::load(&root().join(files::FOLDER)).expect("the declarations");
    let declared: BTreeSet<String> = definitions.jobs.iter().map(|monitor| monitor.job.clone()).collect();
    assert_eq!(in_code, declared);
}

/// A page in `docs/alerts/` for each rule, for check-ins and for issues, and none for anything else.
#[test]
fn every_alert_has_a_runbook() {
    let folder = root().join("docs/alerts");
    let file_name = |entry: std::io::Result<fs::DirEntry>| {
        entry.expect("an entry").file_name().to_string_lossy().trim_end_matches(".md").to_owned()
    };
    let found: BTreeSet<String> = fs::read_dir(&folder).expect("the pages").map(file_name).collect();
    let rules = &rules::declared().rules;
    let slugs = rules.iter().map(|rule| rule.slug.as_str()).chain(["check-in", "issue"]);
    let wanted: BTreeSet<String> = slugs.map(str::to_owned).collect();
    assert_eq!(found, wanted);
    let index = fs::read_to_string(root().join("docs/ALERTS.md")).expect("docs/ALERTS.md");
    for slug in &found {
        let page = fs::read_to_string(folder.join(format!("{slug}.md"))).expect("a page");
        for part in ["- **Seen:** ", "- **Where:** ", "- **Meaning:** ", "- **Do:** ", "The rule: "] {
            assert!(page.contains(part), "docs/alerts/{slug}.md has no `{part}`");
        }
        assert!(index.contains(&format!("(alerts/{slug}.md)")), "docs/ALERTS.md does not name {slug}");
    }
    for rule in rules {
        let page = fs::read_to_string(folder.join(format!("{}.md", rule.slug))).expect("a page");
        let bound = match rule.firing {
            rules::Threshold::Above(bound) => format!("The rule: above {bound} over {} s", rule.window_s),
            rules::Threshold::Below(bound) => format!("The rule: below {bound} over {} s", rule.window_s),
        };
        assert!(page.contains(&bound), "docs/alerts/{}.md does not say: {bound}", rule.slug);
        assert!(page.starts_with(&format!("# `{}`: {}\n", rule.slug, rule.name)), "{}", rule.slug);
    }
}

/// Names of the series of all metrics.
fn series() -> BTreeSet<String> {
    let of_metric = |metric: &Metric| {
        let suffixes: &[&str] = match metric.kind() {
            Kind::Counter | Kind::Gauge => &[""],
            Kind::Distribution => &["_bucket", "_sum", "_count"],
        };
        let name = metric.prometheus_name();
        suffixes.iter().map(|suffix| format!("{name}{suffix}")).collect::<Vec<_>>()
    };
    Metric::ALL.iter().flat_map(of_metric).collect()
}

#[test]
fn prometheus_rules_name_what_is_measured() {
    let text = fs::read_to_string(root().join("deploy/prometheus/pitboss.rules.yml")).expect("the rules");
    let file: Value = serde_yaml_ng::from_str(&text).expect("YAML");
    let rules = file["groups"][0]["rules"].as_array().expect("rules");
    assert!(rules.len() >= 7, "only {} rules", rules.len());
    let (name, known) = (Regex::new(r"\bpitboss_[a-z0-9_]+").expect("a pattern"), series());
    let mut alerts = BTreeSet::new();
    for rule in rules {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        assert!(alerts.insert(text(&rule["alert"])), "{} is there twice", rule["alert"]);
        assert!(["high", "medium"].contains(&text(&rule["labels"]["severity"]).as_str()), "{rule}");
        assert!(!text(&rule["annotations"]["description"]).is_empty(), "{rule}");
        let expression = text(&rule["expr"]);
        let named: Vec<&str> = name.find_iter(&expression).map(|found| found.as_str()).collect();
        assert!(!named.is_empty(), "{expression}");
        let unknown: Vec<&&str> = named.iter().filter(|found| !known.contains(**found)).collect();
        assert!(unknown.is_empty(), "no metric has these series: {unknown:?}");
        let depth = |bracket: char| expression.matches(bracket).count();
        assert_eq!(
            (depth('('), depth('{'), depth('[')),
            (depth(')'), depth('}'), depth(']')),
            "{expression}"
        );
    }
}
