//! Rules, alerts and dashboards in `deploy/` name only what Pitboss sends, and the files of Prometheus are well formed.

use std::collections::BTreeSet;
use std::fs;

use pitboss::sentry::{files, lint};
use regex::Regex;
use serde_json::Value;
use telemetry::metric::{Kind, Metric};

use super::root;

#[test]
fn queries_for_sentry_name_what_is_sent() {
    let definitions = files::load(&root().join(files::FOLDER)).expect("the declarations");
    let findings = lint::lint(&definitions).expect("a catalogue of names");
    assert!(findings.is_empty(), "{}", findings.join("\n"));
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
