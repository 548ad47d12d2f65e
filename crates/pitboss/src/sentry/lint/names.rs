//! Names in queries: each is one that Pitboss declares, and `verify` proves that declared names are sent.

use telemetry::metric::{Export, Kind, Metric};

use crate::declared_names::DeclaredNames;
use crate::sentry::model::{Aggregate, sent_label};

/// Attributes that Sentry itself adds to spans.
const OF_SENTRY: [&str; 5] = ["environment", "release", "span.description", "span.op", "transaction"];

/// Checks a metric and how its values become one.
pub(super) fn metric(
    names: &DeclaredNames,
    metric: Metric,
    function: Aggregate,
    place: &str,
    findings: &mut Vec<String>,
) {
    is_sent(names, metric, place, findings);
    let allowed: &[Aggregate] = match metric.kind() {
        Kind::Counter => &[Aggregate::Sum],
        Kind::Gauge => &[Aggregate::Avg, Aggregate::Min, Aggregate::Max, Aggregate::Count],
        Kind::Distribution => &[
            Aggregate::Avg,
            Aggregate::Min,
            Aggregate::Max,
            Aggregate::P95,
            Aggregate::Sum,
            Aggregate::Count,
        ],
    };
    if !allowed.contains(&function) {
        let allowed: Vec<&str> = allowed.iter().map(|function| function.as_str()).collect();
        findings.push(format!(
            "{place}: {} of {} says nothing, expected {}",
            function.as_str(),
            metric.name(),
            allowed.join(", ")
        ));
    }
}

/// Checks a counter.
pub(super) fn counter(names: &DeclaredNames, metric: Metric, place: &str, findings: &mut Vec<String>) {
    is_sent(names, metric, place, findings);
    if metric.kind() != Kind::Counter {
        findings.push(format!("{place}: {} is no counter", metric.name()));
    }
}

fn is_sent(names: &DeclaredNames, metric: Metric, place: &str, findings: &mut Vec<String>) {
    if metric.export() == Export::Local || !names.metrics.contains(metric.sentry_name()) {
        findings.push(format!("{place}: the metric {} is not sent to Sentry", metric.name()));
    }
}

/// Checks a label, by its short name.
pub(super) fn label(names: &DeclaredNames, label: &str, place: &str, findings: &mut Vec<String>) {
    let sent = sent_label(label);
    if !names.metric_labels.contains(&sent) {
        findings.push(format!("{place}: no metric has the label {label} (sent as {sent})"));
    }
}

/// Checks patterns of labels.
pub(super) fn patterns<'a>(
    patterns: impl Iterator<Item = &'a String>,
    place: &str,
    findings: &mut Vec<String>,
) {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || ".*_-".contains(character);
    for pattern in patterns.filter(|pattern| pattern.is_empty() || !pattern.chars().all(is_plain)) {
        findings.push(format!(
            "{place}: the pattern `{}` has other characters than letters, digits and .*_-",
            pattern.escape_debug()
        ));
    }
}

/// Checks an op.
pub(super) fn op(names: &DeclaredNames, op: &str, place: &str, findings: &mut Vec<String>) {
    if !names.span_ops.contains(op) {
        let known: Vec<&str> = names.span_ops.iter().map(String::as_str).collect();
        findings.push(format!("{place}: no span has the op {op}, expected one of {}", known.join(", ")));
    }
}

/// Checks an attribute of spans.
pub(super) fn attribute(names: &DeclaredNames, attribute: &str, place: &str, findings: &mut Vec<String>) {
    if !names.span_attributes.contains(attribute) && !OF_SENTRY.contains(&attribute) {
        findings.push(format!("{place}: no span has the attribute {attribute}"));
    }
}
