//! The alert rules of `deploy/sentry/` as closed types, and their evaluation over measured values.
//!
//! The command line renders them for Sentry and Prometheus and judges faults by them, and the recorder evaluates them over recorded
//! envelopes. So a bound is in one file. Nothing here reads a clock, a file or the network.
//!
//! [`declared`] returns the rules and folds that are embedded in the program. [`Series`] gathers the values of one rule in one project
//! and evaluates them.

mod fold;
mod names;
mod rule;
mod series;
mod unit;

use std::sync::LazyLock;

use serde::Deserialize;

pub use fold::{Fold, Source};
pub use names::{Labels, Named, matches, sent_label};
pub use rule::{
    Aggregate, MetricRatio, MetricSignal, NoData, Rule, Severity, Signal, SpanMeasure, SpanSignal, Threshold,
};
pub use series::{BUCKET_S, Measured, Series, Share, Verdict};
pub use unit::Unit;

/// Text of `deploy/sentry/rules.toml`.
const RULES: &str = include_str!("../../../deploy/sentry/rules.toml");
/// Text of `deploy/sentry/folds.toml`.
const FOLDS: &str = include_str!("../../../deploy/sentry/folds.toml");

/// `rules.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RulesFile {
    /// The rules.
    #[serde(rename = "rule")]
    pub list: Vec<Rule>,
}

/// `folds.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FoldsFile {
    /// The folds.
    #[serde(rename = "fold")]
    pub list: Vec<Fold>,
}

/// Rules and folds that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    /// The rules.
    pub rules: Vec<Rule>,
    /// The folds. Every rule is in one of them.
    pub folds: Vec<Fold>,
}

/// Returns the rules and folds of the checkout that this program was built from. A test reads both files.
#[must_use]
pub fn declared() -> &'static Declared {
    static DECLARED: LazyLock<Declared> = LazyLock::new(|| {
        let rules: RulesFile = toml::from_str(RULES).expect("rules.toml, which a test reads");
        let folds: FoldsFile = toml::from_str(FOLDS).expect("folds.toml, which a test reads");
        Declared { rules: rules.list, folds: folds.list }
    });
    &DECLARED
}

/// Returns the rule with this slug.
#[must_use]
pub fn rule(slug: &str) -> Option<&'static Rule> {
    declared().rules.iter().find(|rule| rule.slug == slug)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn embedded_files_are_read() {
        assert!(declared().rules.len() >= 7);
        assert!(declared().folds.len() >= 2);
        assert!(rule("dead-letters").is_some() && rule("no-such-rule").is_none());
    }

    #[test]
    fn every_rule_is_in_one_fold() {
        let mut seen = BTreeSet::new();
        for fold in &declared().folds {
            for slug in &fold.rules {
                assert!(rule(slug).is_some(), "{}: there is no rule {slug}", fold.slug);
                assert!(seen.insert(slug.as_str()), "{slug} is in two folds");
            }
        }
        for rule in &declared().rules {
            assert!(seen.contains(rule.slug.as_str()), "{} is in no fold", rule.slug);
        }
        let owners = |has: fn(&Fold) -> bool| declared().folds.iter().filter(|fold| has(fold)).count();
        assert_eq!((owners(|fold| fold.check_ins), owners(|fold| fold.issues)), (1, 1));
    }
}
