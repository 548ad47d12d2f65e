//! Names of metrics and labels in the rules.

use std::collections::BTreeMap;

use serde::Deserialize;
use telemetry::metric::Metric;

/// Names of labels with patterns of their values, in which `*` stands for any text.
pub type Labels = BTreeMap<String, String>;

/// Name under which a label of a metric is sent to Sentry.
///
/// A label that a convention knows has that name. The values of labels are texts, which is the first type.
#[must_use]
pub fn sent_label(label: &str) -> String {
    telemetry::attributes::sent_names(label).into_iter().next().unwrap_or_else(|| label.to_owned())
}

/// A declared metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Named(pub Metric);

impl TryFrom<String> for Named {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let found = Metric::ALL.iter().find(|metric| metric.name() == name);
        found.map(|metric| Self(*metric)).ok_or_else(|| {
            format!("there is no metric `{name}`; crates/telemetry/src/metric.rs declares them, without `pitboss.`")
        })
    }
}

/// Returns true if a text has the form of a pattern, in which `*` stands for any text.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("failed", "failed", true),
            ("failed", "failed2", false),
            ("*", "", true),
            ("*.retry.*", "casino.bets.retry.game", true),
            ("*.retry.*", "casino.bets.commands.v1", false),
            ("casino.*.v1", "casino.bets.commands.v1", true),
            ("casino.*.v1", "casino.bets.commands.v2", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "ac", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn label_has_the_name_that_is_sent() {
        assert_eq!(sent_label("topic"), "messaging.destination.name");
    }
}
