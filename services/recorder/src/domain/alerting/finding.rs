//! One thing that somebody could be told of.

use std::fmt;

use rules::{Severity, Source};
use serde::{Deserialize, Serialize};

/// What found it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The rule with this slug.
    Rule(String),
    /// The monitor of check-ins with this slug.
    CheckIn(String),
    /// The issue with this id.
    Issue(String),
}

impl Origin {
    /// Returns its kind, by which it belongs to a fold.
    #[must_use]
    pub fn source(&self) -> Source<'_> {
        match self {
            Self::Rule(slug) => Source::Rule(slug),
            Self::CheckIn(_) => Source::CheckIn,
            Self::Issue(_) => Source::Issue,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(slug) => f.write_str(slug),
            Self::CheckIn(slug) => write!(f, "check-in {slug}"),
            Self::Issue(id) => write!(f, "issue {id}"),
        }
    }
}

/// A rule that fires, a check-in that is missed or fails, or an issue that is new or came back.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Finding {
    /// Time, in seconds since the epoch.
    pub at: f64,
    /// What found it.
    pub origin: Origin,
    /// Project in which it was found.
    pub project: String,
    /// What it is, in words.
    pub what: String,
    /// How urgent it is.
    pub severity: Severity,
    /// The measured value. `None` without one, and if nothing was measured.
    pub value: Option<f64>,
    /// The bound of the rule.
    pub bound: Option<f64>,
    /// Length of the measured time, in seconds.
    pub window_s: Option<u32>,
    /// Traces that show it, the newest first.
    pub traces: Vec<String>,
    /// True if it lasts until it ends, as a rule that fires. An issue is there once.
    pub lasts: bool,
}

impl Finding {
    /// Returns what a repetition of it has in common with it.
    #[must_use]
    pub fn key(&self) -> String {
        key(&self.origin, &self.project)
    }
}

/// Returns the key of what this origin finds in a project.
#[must_use]
pub fn key(origin: &Origin, project: &str) -> String {
    format!("{origin} in {project}")
}

/// Why a finding is part of its alert.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FoldedBy {
    /// It is none: the alert was raised for it.
    First,
    /// The alert has the same finding already.
    Repeat,
    /// It has the cause of the alert, because both are in one fold.
    Cause,
    /// It came after the period of its fold, but no further alert is left for this day.
    Budget,
}

impl FoldedBy {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Repeat => "repeat",
            Self::Cause => "cause",
            Self::Budget => "budget",
        }
    }
}
