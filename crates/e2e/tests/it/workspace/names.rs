//! Catalogue of the names in Pitboss telemetry, `schemas/names.json`, and its comparison with the code.
//!
//! `platform/coverage.rs` compares it with what a whole platform sent. `UPDATE_SCHEMAS=1` adds missing names in both tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use faults::FaultId;
use regex::Regex;
use serde::{Deserialize, Serialize};
use telemetry::attributes::{FLAG_EVALUATION, sent_names};
use telemetry::metric::{Export, Metric};

use super::{root, rust_files};

/// Members whose log lines reach Sentry.
const FOLDERS: [&str; 6] =
    ["services", "crates/bus", "crates/chassis", "crates/faults", "crates/store", "crates/telemetry"];
/// Prefix of our own names.
const OURS: &str = "pitboss.";

/// Tests of this process change the file one after the other.
static FILE: Mutex<()> = Mutex::new(());

/// Declared names, by kind.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Names {
    pub(crate) span_ops: BTreeSet<String>,
    pub(crate) span_attributes: BTreeSet<String>,
    pub(crate) log_fields: BTreeSet<String>,
    pub(crate) metrics: BTreeSet<String>,
    pub(crate) metric_labels: BTreeSet<String>,
}

impl Names {
    /// The names by kind.
    pub(crate) fn kinds(&self) -> BTreeMap<&'static str, &BTreeSet<String>> {
        BTreeMap::from([
            ("span op", &self.span_ops),
            ("span attribute", &self.span_attributes),
            ("log field", &self.log_fields),
            ("metric", &self.metrics),
            ("metric label", &self.metric_labels),
        ])
    }

    /// Names that `other` has not, one text each.
    pub(crate) fn missing_in(&self, other: &Self) -> Vec<String> {
        let others = other.kinds();
        self.kinds()
            .into_iter()
            .flat_map(|(kind, names)| {
                names.difference(others[kind]).map(move |name| format!("{kind} {name}"))
            })
            .collect()
    }

    /// Adds the names of `other`.
    pub(crate) fn extend(&mut self, other: Self) {
        self.span_ops.extend(other.span_ops);
        self.span_attributes.extend(other.span_attributes);
        self.log_fields.extend(other.log_fields);
        self.metrics.extend(other.metrics);
        self.metric_labels.extend(other.metric_labels);
    }
}

fn path() -> PathBuf {
    root().join("schemas/names.json")
}

fn read() -> Names {
    serde_json::from_str(&fs::read_to_string(path()).expect("schemas/names.json")).expect("a catalogue")
}

/// Declared names: those of the file, and an attribute for each flag.
pub(crate) fn declared() -> Names {
    let _file = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut names = read();
    names.span_attributes.extend(FaultId::ALL.into_iter().map(|id| format!("{FLAG_EVALUATION}{id}")));
    names
}

/// Adds names to the file if `UPDATE_SCHEMAS` is set. Attributes of flags are declared by the faults and are left out.
pub(crate) fn add_if_asked(mut names: Names) {
    if std::env::var_os("UPDATE_SCHEMAS").is_none() {
        return;
    }
    names.span_attributes.retain(|name| !name.starts_with(FLAG_EVALUATION));
    let _file = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut all = read();
    all.extend(names);
    let text = serde_json::to_string_pretty(&all).expect("JSON");
    fs::write(path(), format!("{text}\n")).expect("a writable file");
}

/// Names of the fields in the arguments of `tracing`'s macros: `name = value`, `%name`, `?name` and `name`.
fn logged(source: &str) -> BTreeSet<String> {
    let production = source.split("#[cfg(test)]").next().unwrap_or_default();
    let call = Regex::new(r#"tracing::(?:debug|info|warn|error)!\(([^"]*)""#).expect("a pattern");
    let name = Regex::new(r"^[a-z_]+(?:\.[a-z_]+)*$").expect("a pattern");
    let mut found = BTreeSet::new();
    for arguments in call.captures_iter(production) {
        // The message follows the fields.
        for part in arguments[1].split(',') {
            let part = part.trim();
            let field = part.split_once(" =").map_or(part.trim_start_matches(['%', '?']), |(name, _)| name);
            if name.is_match(field) {
                found.insert(field.to_owned());
            }
        }
    }
    found
}

/// Labels of metrics: the first texts of the pairs in a file that counts, without those of error reports.
fn labels_in(source: &str) -> BTreeSet<String> {
    let production = source.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let calls = ["metric::count(", "metric::gauge(", "metric::distribution("];
    if !calls.into_iter().any(|call| production.contains(call)) {
        return BTreeSet::new();
    }
    let pair = Regex::new(r#"[^\w!]\(\s*"([a-z0-9_]+)","#).expect("a pattern");
    let statements = production.split(';').filter_map(|text| text.split("telemetry::report(").next());
    statements.flat_map(|text| pair.captures_iter(text).map(|found| found[1].to_owned())).collect()
}

/// Returns true for the labels that Sentry's SDK adds to every metric.
fn is_from_sdk(label: &str) -> bool {
    label.starts_with("sentry.") || label == "server.address"
}

/// Texts of the sources in these folders, without the files of tests.
fn sources(folders: &[&str]) -> Vec<String> {
    let files = folders.iter().flat_map(|folder| rust_files(&root().join(folder)));
    let files = files.filter(|file| file.components().any(|part| part.as_os_str() == "src"));
    files.map(|file| fs::read_to_string(file).expect("a readable file")).collect()
}

#[test]
fn catalogue_has_the_metrics_that_reach_sentry() {
    let metrics: BTreeSet<String> = Metric::ALL
        .iter()
        .filter(|metric| metric.export() != Export::Local)
        .map(|metric| metric.sentry_name().to_owned())
        .collect();
    add_if_asked(Names { metrics: metrics.clone(), ..Names::default() });
    assert_eq!(declared().metrics, metrics, "UPDATE_SCHEMAS=1 adds missing metrics to schemas/names.json");
}

#[test]
fn catalogue_has_every_label() {
    // `sent_names` begins with the name for a value of the right type. Labels have no other values.
    let metric_labels: BTreeSet<String> = sources(&["crates", "services"])
        .iter()
        .flat_map(|source| labels_in(source))
        .filter_map(|label| sent_names(&label).into_iter().next())
        .collect();
    add_if_asked(Names { metric_labels: metric_labels.clone(), ..Names::default() });
    let mut declared = declared().metric_labels;
    declared.retain(|label| !is_from_sdk(label));
    assert_eq!(declared, metric_labels, "UPDATE_SCHEMAS=1 adds missing labels to schemas/names.json");
}

#[test]
fn catalogue_has_every_logged_field_and_op() {
    let op = Regex::new(r#"sentry\.op = "([a-z._]+)""#).expect("a pattern");
    let (mut fields, mut span_ops) = (BTreeSet::new(), BTreeSet::new());
    let mut all = String::new();
    for source in sources(&FOLDERS) {
        fields.extend(logged(&source));
        span_ops.extend(op.captures_iter(&source).map(|found| found[1].to_owned()));
        all.push_str(&source);
    }
    assert!(fields.len() > 20 && span_ops.len() > 5, "only {fields:?}, {span_ops:?}");
    let log_fields = fields.iter().flat_map(|field| sent_names(field)).collect();
    let in_code = Names { log_fields, span_ops: span_ops.clone(), ..Names::default() };
    add_if_asked(in_code.clone());
    let declared = declared();
    let missing = in_code.missing_in(&declared);
    assert!(missing.is_empty(), "not in schemas/names.json (UPDATE_SCHEMAS=1 adds them): {missing:?}");
    assert_eq!(declared.span_ops, span_ops, "in schemas/names.json and nowhere in the code");
    let ours = declared.log_fields.iter().filter_map(|name| name.strip_prefix(OURS));
    let unused: Vec<_> = ours.filter(|name| !all.contains(name)).collect();
    assert!(unused.is_empty(), "in schemas/names.json and nowhere in the code: {unused:?}");
}

#[test]
fn fields_of_every_form_are_found() {
    let found = logged(
        "tracing::info!(bet.id = %id, ?mode, count, delay_ms = delay.as_ms(), \"text, a = b {x}\");\n\
         tracing::warn!(\"only {text}\");\n tracing::error!(\n    %error,\n    \"x\"\n);",
    );
    assert_eq!(
        found.iter().map(String::as_str).collect::<Vec<_>>(),
        ["bet.id", "count", "delay_ms", "error", "mode"]
    );
}

#[test]
fn labels_of_every_form_are_found() {
    let source = "let topic = (\"topic\", name(\"a\", 1));\ntelemetry::report(&error, &[(\"b\", \"c\")]);\n\
         metric::count(\n    Metric::A,\n    1,\n    &[topic, (\"kind\", \"d\"), (\"e.f\", \"g\")],\n);\n\
         #[cfg(test)]\nmod tests {\n    metric::count(Metric::A, 1, &[(\"test\", \"h\")]);\n}\n";
    assert_eq!(labels_in(source).into_iter().collect::<Vec<_>>(), ["kind", "topic"]);
    assert!(labels_in("let topic = (\"topic\", name);").is_empty(), "it does not count");
}

#[test]
fn missing_names_are_listed_with_their_kind() {
    let of = |name: &str| Names { metrics: BTreeSet::from([name.to_owned()]), ..Names::default() };
    assert_eq!(of("a").missing_in(&of("b")), ["metric a"]);
    assert!(of("a").missing_in(&of("a")).is_empty());
}
