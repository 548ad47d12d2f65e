//! Folds: which findings have one cause and become one alert.

use serde::Deserialize;

/// Findings that are one alert, because one incident usually causes all of them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fold {
    /// Unique name, of lower-case letters and hyphens.
    pub slug: String,
    /// Name of the alert, for people.
    pub name: String,
    /// Why these findings belong together.
    pub why: String,
    /// Time after the last finding in which a further one belongs to the same alert, in minutes.
    pub period_min: u32,
    /// Slugs of the rules whose findings belong to it.
    #[serde(default)]
    pub rules: Vec<String>,
    /// True if missed check-ins belong to it.
    #[serde(default)]
    pub check_ins: bool,
    /// True if new and regressed issues belong to it.
    #[serde(default)]
    pub issues: bool,
}

/// Kind of what found something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source<'a> {
    /// The rule with this slug.
    Rule(&'a str),
    /// A monitor of check-ins.
    CheckIn,
    /// An issue that is new or came back.
    Issue,
}

impl Fold {
    /// Returns true if findings of this source belong to it.
    #[must_use]
    pub fn has(&self, source: Source<'_>) -> bool {
        match source {
            Source::Rule(slug) => self.rules.iter().any(|known| known == slug),
            Source::CheckIn => self.check_ins,
            Source::Issue => self.issues,
        }
    }
}
